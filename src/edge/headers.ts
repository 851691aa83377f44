/**
 * Headers on their way through: what belongs to one connection stays on it, what the edge vouches for can't be sent in
 * from outside, and answers that name a slot name the public hostname instead.
 */
import { PREVIEW_COOKIE, withoutCookie } from "../domain/routing/cookie.ts";
import type { Survey, Visit } from "./visit.ts";

/** RFC 9110 §7.6.1, and forwarding headers that only the edge may set. `Expect` was answered by the platform. */
const DROPPED = new Set([
  "expect",
  "forwarded",
  "keep-alive",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-port",
  "x-forwarded-proto",
  "x-forwarded-server",
  "x-real-ip",
]);
/** `accept…`, `authorization`; `sec-…`. */
const LETTER_A = 97;
const LETTER_S = 115;
const NOTHING: readonly string[] = [];
const REQUEST_ID = /^[A-Za-z0-9._:+=/-]{1,128}$/;

type Draft = { -readonly [K in keyof Survey]: Survey[K] };

const blank = (): Draft => ({
  requestId: "",
  cookies: null,
  connection: null,
  address: null,
  preview: null,
  contentLength: null,
  isUpgrade: false,
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
  // Most headers begin like these, and are none of the edge's business.
  const first = name.charCodeAt(0);
  if (first === LETTER_A || first === LETTER_S) return;
  if (name === "cookie") draft.cookies = value;
  else if (name === "connection") draft.connection = value;
  else if (name === "cf-connecting-ip") draft.address = value;
  else if (name === "content-length") draft.contentLength = Number(value);
  else if (name === "upgrade") draft.isUpgrade = true;
  else if (name === "x-request-id") draft.requestId = value;
  else if (DROPPED.has(name) || name.startsWith("x-sluice-")) {
    if (name === "x-sluice-preview") draft.preview = value;
    draft.dropped = [...draft.dropped, name];
  }
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
  headers.set("x-forwarded-host", visit.url.authority);
  headers.set("x-forwarded-proto", visit.url.secure ? "https" : "http");
  headers.set("x-request-id", survey.requestId);
  if (survey.address !== null) {
    headers.set("x-forwarded-for", survey.address);
    headers.set("x-real-ip", survey.address);
  }
  if (survey.cookies?.includes(PREVIEW_COOKIE)) {
    const rest = withoutCookie(survey.cookies, PREVIEW_COOKIE);
    if (rest === null) headers.delete("Cookie");
    else headers.set("Cookie", rest);
  }
  return headers;
}

/** Makes an answer's headers the public hostname's. `slot` is the origin's host, with port. */
export function publishHeaders(headers: Headers, status: number, visit: Visit, slot: string): void {
  dropNamedByConnection(headers, headers.get("connection"));
  const location = hasLocation(status) ? headers.get("location") : null;
  if (location !== null) {
    const mended = publicLocation(location, visit, slot);
    if (mended !== location) headers.set("Location", mended);
  }
  const cookies = headers.get("set-cookie");
  if (cookies?.includes(hostOnly(slot))) publishCookies(headers, visit.hostname, hostOnly(slot));
}

/** Whether an answer's headers can go out as they came. */
export function isPublic(headers: Headers, status: number, slot: string): boolean {
  if (!isOrdinaryConnection(headers.get("connection"))) return false;
  if (hasLocation(status) && headers.get("location")?.includes(hostOnly(slot))) return false;
  return headers.get("set-cookie")?.includes(hostOnly(slot)) !== true;
}

const hasLocation = (status: number): boolean => status === 201 || (status >= 300 && status < 400);

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

/** `http://slot:port/x` and `//slot:port/x` become the public address; anything else stays. */
function publicLocation(location: string, visit: Pick<Visit, "url">, slot: string): string {
  const start = /^(?:https?:)?\/\//i.exec(location)?.[0];
  if (start === undefined) return location;
  const rest = location.slice(start.length);
  const host = rest.slice(0, slot.length).toLowerCase();
  if (host !== slot || !/^([/?#]|$)/.test(rest.slice(slot.length))) return location;
  const scheme = start.length === 2 ? "" : visit.url.secure ? "https:" : "http:";
  return `${scheme}//${visit.url.authority}${rest.slice(slot.length)}`;
}

function publishCookies(headers: Headers, hostname: string, slot: string): void {
  const cookies = headers.getSetCookie();
  headers.delete("Set-Cookie");
  for (const cookie of cookies) {
    headers.append(
      "Set-Cookie",
      cookie.replace(/(;\s*domain\s*=\s*)\.?([^;\s]+)/gi, (whole, start: string, domain: string) =>
        domain.toLowerCase() === slot ? `${start}${hostname}` : whole,
      ),
    );
  }
}

const hostOnly = (slot: string): string => slot.replace(/:[0-9]+$/, "");
