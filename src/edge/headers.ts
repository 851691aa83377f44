/**
 * Headers on their way through: what belongs to one connection stays on it, what the edge vouches for can't be sent in
 * from outside, and answers that name a slot name the public hostname instead.
 */
import { PREVIEW_COOKIE, withoutCookie } from "../domain/cookie.ts";
import type { Visit } from "./visit.ts";

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
const REQUEST_ID = /^[A-Za-z0-9._:+=/-]{1,128}$/;

/** The client's own request id when it is a sane one, so that a caller can follow it through; else a new one. */
export function requestIdOf(headers: Headers): string {
  const given = headers.get("x-request-id");
  return given !== null && REQUEST_ID.test(given) ? given : crypto.randomUUID();
}

/** What the app gets. Made once per request: a second attempt sends the same. */
export function originHeaders(visit: Visit): Headers {
  const { request, env } = visit;
  const headers = new Headers(request.headers);
  for (const name of request.headers.keys()) {
    if (DROPPED.has(name) || name.startsWith("x-sluice-")) headers.delete(name);
  }
  dropNamedByConnection(headers, request.headers.get("connection"));
  headers.set("X-Forwarded-Host", visit.url.authority);
  headers.set("X-Forwarded-Proto", visit.url.secure ? "https" : "http");
  headers.set("X-Request-Id", visit.requestId);
  const address = request.headers.get("cf-connecting-ip");
  if (address !== null) {
    headers.set("X-Forwarded-For", address);
    headers.set("X-Real-IP", address);
  }
  if (visit.cookies?.includes(PREVIEW_COOKIE)) {
    const rest = withoutCookie(visit.cookies, PREVIEW_COOKIE);
    if (rest === null) headers.delete("Cookie");
    else headers.set("Cookie", rest);
  }
  if (env.ACCESS_CLIENT_ID !== undefined && env.ACCESS_CLIENT_SECRET !== undefined) {
    headers.set("CF-Access-Client-Id", env.ACCESS_CLIENT_ID);
    headers.set("CF-Access-Client-Secret", env.ACCESS_CLIENT_SECRET);
  }
  return headers;
}

/** Makes an app's headers the public hostname's. `slot` is the origin's host, with port. */
export function publishHeaders(headers: Headers, visit: Visit, slot: string): void {
  dropNamedByConnection(headers, headers.get("connection"));
  headers.delete("proxy-connection");
  const location = headers.get("location");
  if (location !== null) {
    const mended = publicLocation(location, visit, slot);
    if (mended !== location) headers.set("Location", mended);
  }
  const cookies = headers.get("set-cookie");
  if (cookies?.includes(hostOnly(slot))) publishCookies(headers, visit.hostname, hostOnly(slot));
}

/** `Connection: x-foo` makes `X-Foo` hop-by-hop. `close`, `keep-alive` and `upgrade` are the runtime's business. */
function dropNamedByConnection(headers: Headers, connection: string | null): void {
  if (connection === null || connection.length <= 10) {
    const lower = connection?.toLowerCase() ?? "close";
    if (lower === "close" || lower === "keep-alive" || lower === "upgrade") return;
  }
  for (const part of (connection ?? "").split(",")) {
    const name = part.trim().toLowerCase();
    if (/^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(name) && name !== "upgrade" && name !== "close")
      headers.delete(name);
  }
}

/** `http://slot:port/x` and `//slot:port/x` become the public address; anything else stays. */
export function publicLocation(location: string, visit: Pick<Visit, "url">, slot: string): string {
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
