import { deleteCookie, getCookie, setCookie } from "hono/cookie";
import { err, ok, type Result } from "../../domain/result.ts";
import { moment } from "../../domain/times.ts";
import { newSecret, sha256 } from "../ids.ts";
import type { Refusal } from "../refusal.ts";
import type { Db } from "../store/db.ts";
import { endSession, findSession, insertSession } from "../store/identity/sessions.ts";
import type { AppContext } from "./context.ts";

/** A working day: whoever sits there in the morning signs in. */
const SESSION_MS = 12 * 3_600_000;
const SESSION = /^sls_[A-Za-z0-9_-]{43}$/;

/**
 * Browsers take the `__Host-` prefix only with `Secure`, and neither over loopback's plain http. No other name counts over
 * https: a sibling subdomain could plant one.
 */
const nameOf = (c: AppContext) => (isHttps(c) ? "__Host-sluice" : "sluice");
const isHttps = (c: AppContext) => new URL(c.req.url).protocol === "https:";
const attributes = (c: AppContext) =>
  ({ path: "/", httpOnly: true, sameSite: "Lax", secure: isHttps(c) }) as const;

/** What the browser's session cookie holds, if it is one of ours by its shape. */
export function sessionOf(c: AppContext): string | undefined {
  const value = getCookie(c, nameOf(c));
  return value !== undefined && SESSION.test(value) ? value : undefined;
}

/** What Cloudflare Access puts into each request, or the browser's cookie of it: the same token (Access' documentation). */
export function accessAssertionOf(c: AppContext): string | undefined {
  const token = c.req.header("cf-access-jwt-assertion") ?? getCookie(c, "CF_Authorization");
  return token !== undefined && token.length <= MOST_ASSERTION ? token : undefined;
}
const MOST_ASSERTION = 8_000;

/** What a request proves itself with, as sent: its Authorization header, else its session, else what Access says. */
export const credentialOf = (c: AppContext): string | undefined =>
  c.req.header("authorization") ?? sessionOf(c) ?? accessAssertionOf(c);

/** Begins a session for whoever holds the token; answers when it ends, epoch ms. */
export async function beginSession(c: AppContext, db: Db, tokenHash: string): Promise<number> {
  const secret = newSecret("sls");
  const now = c.var.now();
  const expiresAt = now + SESSION_MS;
  await insertSession(db, { hash: await sha256(secret), tokenHash, createdAt: now, expiresAt });
  setCookie(c, nameOf(c), secret, { ...attributes(c), maxAge: SESSION_MS / 1_000 });
  return expiresAt;
}

/** Ends the browser's session, here and in the browser. */
export async function leaveSession(c: AppContext, db: Db): Promise<void> {
  const secret = sessionOf(c);
  if (secret !== undefined) await endSession(db, await sha256(secret));
  deleteCookie(c, nameOf(c), attributes(c));
}

/** The hash of the token that a session was begun with, or why it counts for nothing. */
export async function tokenOfSession(
  c: AppContext,
  db: Db,
  secret: string,
): Promise<Result<string, Refusal>> {
  const foreign = foreignPage(c.req.raw);
  if (foreign) return err(foreign);
  const session = await findSession(db, await sha256(secret));
  if (!session) return err({ code: "unauthenticated", detail: "this sign-in has ended: sign in again" });
  if (session.expiresAt > c.var.now()) return ok(session.tokenHash);
  const detail = `this sign-in ended at ${moment(session.expiresAt)}: sign in again`;
  return err({ code: "token_expired", detail });
}

const READS = new Set(["GET", "HEAD"]);

/**
 * Why a request that the browser itself adds a cookie to is not believed: another site's page had it sent, or may have.
 * What changes something must say that it comes from control's own page, by `Sec-Fetch-Site` or, in browsers without
 * that, `Origin`. What reads is refused from other pages but where somebody follows a link (Fetch Metadata, W3C).
 */
export function foreignPage(request: Request): Refusal | undefined {
  const { headers, method, url } = request;
  const origin = headers.get("origin");
  const site = headers.get("sec-fetch-site");
  const isOwnOrigin = origin === null || origin === new URL(url).origin;
  const isLink = site === "none" || headers.get("sec-fetch-mode") === "navigate";
  const isOwn = READS.has(method)
    ? site === null || site === "same-origin" || isLink
    : isOwnOrigin && (site === null ? origin !== null : site === "same-origin");
  if (isOwn) return undefined;
  const detail = `a sign-in counts for control's own pages alone, and this comes from ${from(origin, site)}: scripts send a token`;
  return { code: "forbidden", detail };
}

const from = (origin: string | null, site: string | null) =>
  origin !== null && origin.length < 100
    ? origin
    : site === null
      ? "a page that is not named"
      : "another site";
