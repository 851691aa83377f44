/**
 * Headers on their way through: what belongs to one connection stays on it, what the edge vouches for can't be sent in
 * from outside, and answers that name a slot name the public hostname instead.
 */
import { PREVIEW, withoutPreview } from "../domain/routing/cookie.ts";
import { normalHostname, registeredName } from "../domain/routing/hostname.ts";
import { hasOwnAddress, publicHost, publishAddresses } from "./own-address.ts";
import { strippedPrefix } from "./prefix.ts";
import type { Survey, Visit } from "./visit.ts";

/**
 * RFC 9110 §7.6.1, and what proxies say of a visitor, a host or a path in one dialect or another: apps believe it, and only
 * the edge may say it. (`X-Forwarded-…` and `X-Sluice-…` are told by their beginnings.) `Expect` was answered by the platform.
 */
const DROPPED = new Set([
  "client-ip",
  "expect",
  "fastly-client-ip",
  "forwarded",
  "forwarded-for",
  "front-end-https",
  "keep-alive",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "true-client-ip",
  "x-client-ip",
  "x-cluster-client-ip",
  "x-envoy-external-address",
  "x-host",
  "x-http-host-override",
  "x-original-forwarded-for",
  "x-original-host",
  "x-original-uri",
  "x-original-url",
  "x-originating-ip",
  "x-real-ip",
  "x-remote-addr",
  "x-remote-ip",
  "x-rewrite-uri",
  "x-rewrite-url",
  "x-scheme",
  "x-url-scheme",
]);
const LETTER_X = 120;
/** By first letter: whether a name may be one of those or one that `note` keeps. Most headers' are none. */
const IS_NOTED: boolean[] = [];
for (const name of [
  ...DROPPED,
  "cookie",
  "connection",
  "cf-connecting-ip",
  "content-length",
  "upgrade",
  "destination",
  "x-",
])
  IS_NOTED[name.charCodeAt(0)] = true;
const NOTHING: readonly string[] = [];
const REQUEST_ID = /^[A-Za-z0-9._:+=/-]{1,128}$/;

type Draft = { -readonly [K in keyof Survey]: Survey[K] };

const blank = (): Draft => ({
  requestId: "",
  cookies: null,
  connection: null,
  address: null,
  preview: null,
  deployment: null,
  contentLength: null,
  destination: null,
  isUpgrade: false,
  isTraced: false,
  dropped: NOTHING,
});

/** What `note` writes to: one function for all requests, since an iterator makes an object for each header. */
let draft = blank();
/** Made with the first request: a Worker has no randomness while it starts. */
let requestIdPrefix: string | null = null;
let requestCount = 0;

export function surveyHeaders(headers: Headers): Survey {
  draft = blank();
  headers.forEach(note);
  // The client's own id when it is a sane one, so that a caller can follow the request through.
  if (!REQUEST_ID.test(draft.requestId)) draft.requestId = newRequestId();
  return draft;
}

function note(value: string, name: string): void {
  const first = name.charCodeAt(0);
  if (IS_NOTED[first] !== true) return;
  if (name === "cookie") draft.cookies = value;
  else if (name === "connection") draft.connection = value;
  else if (name === "cf-connecting-ip") draft.address = value;
  else if (name === "content-length") draft.contentLength = Number(value);
  else if (name === "upgrade") draft.isUpgrade = true;
  else if (name === "destination") draft.destination = value;
  else if (name === "x-request-id") draft.requestId = value;
  else if (name === "x-deployment-id") draft.deployment = value;
  else if (isDropped(name, first)) {
    if (name === "x-sluice-preview") draft.preview = value;
    else if (name === "x-sluice-trace") draft.isTraced = value === "1";
    draft.dropped = [...draft.dropped, name];
  }
}

function isDropped(given: string, first: number): boolean {
  // Gateways of the CGI kind take an underscore for a dash.
  const name = given.includes("_") ? given.replaceAll("_", "-") : given;
  if (DROPPED.has(name)) return true;
  return first === LETTER_X && (name.startsWith("x-sluice-") || name.startsWith("x-forwarded"));
}

/**
 * What the app gets. Made once per request: a second attempt sends the same. Names are set in lower case, here and on the
 * answer, since the runtime keeps a second copy of any other in each copy of the headers.
 */
export function originHeaders(visit: Visit): Headers {
  const { request, survey } = visit;
  const headers = new Headers(request.headers);
  for (const name of survey.dropped) headers.delete(name);
  dropNamedByConnection(headers, survey.connection);
  headers.set("x-forwarded-host", publicHost(visit));
  headers.set("x-forwarded-proto", visit.url.secure ? "https" : "http");
  const prefix = strippedPrefix(visit);
  if (prefix !== "") headers.set("x-forwarded-prefix", prefix);
  headers.set("x-request-id", survey.requestId);
  if (survey.address !== null) {
    headers.set("x-forwarded-for", survey.address);
    headers.set("x-real-ip", survey.address);
  }
  if (survey.destination !== null) headers.set("destination", ownDestination(survey.destination, visit));
  if (survey.cookies?.includes(PREVIEW)) {
    const rest = withoutPreview(survey.cookies);
    if (rest === null) headers.delete("Cookie");
    else headers.set("Cookie", rest);
  }
  return headers;
}

/** A place at this very app goes as a path, which RFC 4918 allows: under no scheme, host and port that it might take for another's. */
function ownDestination(destination: string, visit: Visit): string {
  const match = /^https?:\/\/([^/?#]+)(\/.*)?$/i.exec(destination);
  if (match === null) return destination;
  const hostname = normalHostname(match[1] ?? "");
  return hostname === visit.hostname || registeredName(visit.route.table.hostnames, hostname) !== undefined
    ? (match[2] ?? "/")
    : destination;
}

/** Makes an answer's headers the public hostname's. */
export function publishHeaders(headers: Headers, status: number, visit: Visit): void {
  dropNamedByConnection(headers, headers.get("connection"));
  headers.delete("proxy-connection");
  publishAddresses(headers, status, visit);
}

/** Whether an answer's headers can go out as they came. */
export const isPublic = (headers: Headers, status: number, visit: Visit): boolean =>
  isOrdinaryConnection(headers.get("connection")) &&
  headers.get("proxy-connection") === null &&
  !hasOwnAddress(headers, status, visit);

function newRequestId(): string {
  requestIdPrefix ??= crypto.randomUUID().slice(0, 18);
  requestCount += 1;
  return `${requestIdPrefix}-${requestCount.toString(36)}`;
}

/** `Connection: x-foo` makes `X-Foo` hop-by-hop. `close`, `keep-alive` and `upgrade` are the runtime's business. */
function dropNamedByConnection(headers: Headers, connection: string | null): void {
  if (connection === null || isOrdinaryConnection(connection)) return;
  for (const part of connection.split(",")) {
    const name = part.trim().toLowerCase();
    if (/^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(name) && name !== "upgrade" && name !== "close")
      headers.delete(name);
  }
}

function isOrdinaryConnection(connection: string | null): boolean {
  if (connection === null || connection === "keep-alive" || connection === "close") return true;
  const lower = connection.toLowerCase();
  return lower === "keep-alive" || lower === "close" || lower === "upgrade";
}
