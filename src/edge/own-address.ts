/** Answers that name a slot, as an app does that takes its own address from the connection, name the public hostname instead. */
import type { Route } from "../domain/routing/choose.ts";
import { registeredName } from "../domain/routing/hostname.ts";
import { zoneOfSlot } from "../domain/routing/slot.ts";
import type { Visit } from "./visit.ts";

const AUTHORITY = "(https?:)?\\/\\/([a-z0-9._-]+)(:[0-9]{1,5})?(?=[/?#\\s<>\"',;]|$)";
const AT_START = new RegExp(`^${AUTHORITY}`, "i");
const ANYWHERE = new RegExp(AUTHORITY, "gi");
const DOMAIN = /(;\s*domain\s*=\s*)\.?([^;\s]+)/gi;
/** Headers whose whole value is a URL, and those that hold some. */
const URLS = ["content-location"];
const WITH_URLS = ["link", "refresh"];

/** Mends the headers of an answer in place. */
export function publishAddresses(headers: Headers, status: number, visit: Visit): void {
  for (const [name, mended] of mends(headers, status, visit)) headers.set(name, mended);
  const cookies = headers.get("set-cookie");
  if (cookies !== null && namesSlot(cookies, visit.route)) publishCookies(headers, visit);
}

/** Whether an answer's headers can go out as they came. */
export function hasOwnAddress(headers: Headers, status: number, visit: Visit): boolean {
  if (mends(headers, status, visit).length > 0) return true;
  const cookies = headers.get("set-cookie");
  return cookies !== null && namesSlot(cookies, visit.route);
}

/** Where an app finds itself by the `Host` it gets: under its public name, with the port that the visitor used, if any. */
export const appOrigin = ({ route, url, hostname }: Visit): string =>
  `http://${route.table.publicHost ?? hostname}${portOf(url.authority, hostname)}`;

/** The hostname as the edge reads it, with the port that the visitor used, if any. */
export const publicHost = ({ hostname, url }: Pick<Visit, "hostname" | "url">): string =>
  hostname + portOf(url.authority, hostname);

const portOf = (authority: string, hostname: string): string =>
  authority === hostname ? "" : (/:[0-9]+$/.exec(authority)?.[0] ?? "");

function mends(headers: Headers, status: number, visit: Visit): [string, string][] {
  const found: [string, string][] = [];
  const look = (name: string, pattern: RegExp) => {
    const value = headers.get(name);
    if (value === null) return;
    const mended = value.replace(
      pattern,
      (whole, scheme: string | undefined, host: string, port = "") =>
        mendedOrigin({ scheme, host: host.toLowerCase(), port }, visit) ?? whole,
    );
    if (mended !== value) found.push([name, mended]);
  };
  if (status === 201 || (status >= 300 && status < 400)) look("location", AT_START);
  for (const name of URLS) look(name, AT_START);
  for (const name of WITH_URLS) look(name, ANYWHERE);
  return found;
}

interface Origin {
  /** With its colon, if it says one. */
  readonly scheme: string | undefined;
  readonly host: string;
  /** With its colon, or empty. */
  readonly port: string;
}

/** What a visitor has to be told instead; undefined: it is right. */
function mendedOrigin(origin: Origin, visit: Visit): string | undefined {
  const { scheme, host, port } = origin;
  const own = isOwn(visit.route, host, port) ? visit.hostname : isInner(origin, visit) ? host : undefined;
  if (own === undefined) return undefined;
  const visited = visit.url.secure ? "https:" : "http:";
  return `${scheme === undefined ? "" : visited}//${own}${portOf(visit.url.authority, visit.hostname)}`;
}

/** Whether it is the app's public name, but with the scheme or the port of the connection that the app has. */
function isInner({ scheme, host, port }: Origin, { route, url, hostname }: Visit): boolean {
  const { table, releases } = route;
  if (host !== hostname && host !== table.publicHost && registeredName(table.hostnames, host) === undefined)
    return false;
  const visitors = portOf(url.authority, hostname);
  if (port === visitors) return url.secure && scheme?.toLowerCase() === "http:";
  if (port === `:${table.appPort}`) return true;
  // A plain process listens on its slot's own port.
  if (port !== "" && releases.some(({ instances }) => instances.some((own) => own.host.endsWith(port))))
    return true;
  return scheme?.toLowerCase() !== "https:" && (port === "" || port === ":80");
}

/**
 * Whether an address is an instance's of this environment: a slot's at any port, which the app may take for its own, even one
 * that has left the table; a plain host's only as it is, or with no port of its own.
 */
function isOwn(route: Route, host: string, port: string): boolean {
  if (zoneOfSlot(host) !== null && route.table.originSuffixes.some((suffix) => host.endsWith(suffix)))
    return true;
  const isDefault = port === "" || port === ":80" || port === ":443";
  return route.releases.some(({ instances }) =>
    instances.some(
      (instance) => instance.host === host + port || (isDefault && nameOf(instance.host) === host),
    ),
  );
}

const nameOf = (host: string): string => host.replace(/:[0-9]+$/, "");

const namesSlot = (cookies: string, route: Route): boolean =>
  [...cookies.matchAll(/;\s*domain\s*=\s*\.?([^;,\s]+)/gi)].some(([, domain = ""]) =>
    isOwn(route, domain.toLowerCase(), ""),
  );

function publishCookies(headers: Headers, visit: Visit): void {
  const cookies = headers.getSetCookie();
  headers.delete("set-cookie");
  for (const cookie of cookies) {
    const mended = cookie.replace(DOMAIN, (whole, start: string, domain: string) =>
      isOwn(visit.route, domain.toLowerCase(), "") ? start + visit.hostname : whole,
    );
    headers.append("set-cookie", mended);
  }
}
