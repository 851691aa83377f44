import type { MiddlewareHandler } from "hono";
import { decrypt, encrypt } from "../aead.ts";
import { sha256 } from "../ids.ts";
import type { Db } from "../store/db.ts";
import { claimKey, finishKey, forgetKey, readKey, releaseKey, retakeKey } from "../store/idempotency.ts";
import type { AppEnv } from "./context.ts";
import { ProblemError } from "./problems.ts";
import { credentialOf } from "./session.ts";

/** A request that has not finished after this long died with its isolate. */
const RETAKE_AFTER_MS = 60_000;
/** Answers are kept this long; the sweep drops older ones. */
export const KEPT_MS = 24 * 3_600_000;
const REPLAYED = ["content-type", "location", "etag"];

/**
 * `Idempotency-Key` on POSTs: the first request with a key does the thing, all later ones get its answer. The key is
 * scoped to principal and route. Only success is kept: a refusal changed nothing, so trying again is a new try.
 *
 * Answers may hold a secret that is shown once (a new token): they lie sealed under the caller's own bearer token or session,
 * which control does not have.
 */
export const idempotent: MiddlewareHandler<AppEnv> = async (c, next) => {
  const header = c.req.header("idempotency-key");
  if (c.req.method !== "POST" || header === undefined) return next();
  const { db } = c.var;
  const url = new URL(c.req.url);
  const route = `${c.req.method} ${url.pathname}${url.search}`;
  const key = await sha256(JSON.stringify([c.var.principal.id, route, parseKey(header)]));
  const bodyHash = await sha256(await c.req.text());
  const bearer = (credentialOf(c) ?? "").replace(/^bearer +/i, "");

  const answer = await answerOfFirst(db, { key, bodyHash, now: c.var.now() }, bearer);
  if (answer) {
    c.res = answer;
    return;
  }
  await next();
  if (!c.res.ok) return releaseKey(db, key);
  const body = await encrypt(await sealingKey(bearer), await c.res.clone().text());
  const headers = REPLAYED.flatMap((name) =>
    c.res.headers.has(name) ? [[name, c.res.headers.get(name) ?? ""]] : [],
  );
  await finishKey(db, key, { status: c.res.status, headers: Object.fromEntries(headers), body });
};

interface Claim {
  readonly key: string;
  readonly bodyHash: string;
  readonly now: number;
}

/** The first request's answer, again; undefined: this request is the first, or takes its place. */
async function answerOfFirst(db: Db, claim: Claim, bearer: string): Promise<Response | undefined> {
  if (await claimKey(db, claim)) return undefined;
  const earlier = await earlierAnswer(db, claim);
  if (!earlier) return undefined;
  const body = await opened(earlier.body, bearer);
  if (body !== undefined) {
    const headers = { ...earlier.headers, "idempotency-replayed": "true" };
    return new Response(body, { status: earlier.status, headers });
  }
  await forgetKey(db, claim.key, earlier.createdAt);
  if (await claimKey(db, claim)) return undefined;
  throw inFlight();
}

/** Undefined: it was sealed under another token, the caller's before that was changed. Nobody can read it any more. */
async function opened(sealed: string, bearer: string): Promise<string | undefined> {
  try {
    return await decrypt(await sealingKey(bearer), sealed);
  } catch {
    return undefined;
  }
}

const inFlight = () =>
  new ProblemError({
    code: "idempotency_in_flight",
    detail: "the first request with this Idempotency-Key is not finished: ask again in a moment",
    retryAfterS: 1,
  });

/** The key of a request: an sf-string in quotes as the draft has it, or bare as most clients send it. */
export function parseKey(header: string): string {
  const bare = /^"((?:[^"\\]|\\["\\])*)"$/.exec(header)?.[1]?.replace(/\\(["\\])/g, "$1") ?? header;
  if (/^[\x20-\x7e]{1,255}$/.test(bare) && bare.trim() !== "") return bare;
  const detail = "Idempotency-Key must be 1–255 printable ASCII characters, quoted or not";
  throw new ProblemError({ code: "invalid_request", detail });
}

/** The finished answer of the first request, or undefined: it died, and this request takes its place. */
async function earlierAnswer(db: Db, at: Claim) {
  const row = await readKey(db, at.key);
  if (row && row.bodyHash !== at.bodyHash) {
    const detail = "this Idempotency-Key was used with another body: use a new key for a new request";
    throw new ProblemError({ code: "idempotency_conflict", detail });
  }
  if (row && row.status !== null)
    return {
      status: row.status,
      headers: row.headers ?? {},
      body: row.body ?? "",
      createdAt: row.createdAt,
    };
  const isDead = row && at.now - row.createdAt > RETAKE_AFTER_MS;
  if (isDead && (await retakeKey(db, at.key, row.createdAt, at.now))) return undefined;
  throw inFlight();
}

async function sealingKey(bearer: string): Promise<CryptoKey> {
  const bytes = new TextEncoder();
  const secret = await crypto.subtle.importKey("raw", bytes.encode(bearer), "HKDF", false, ["deriveKey"]);
  const how = {
    name: "HKDF",
    hash: "SHA-256",
    salt: new Uint8Array(),
    info: bytes.encode("sluice-idempotency:1"),
  };
  return crypto.subtle.deriveKey(how, secret, { name: "AES-GCM", length: 256 }, false, [
    "encrypt",
    "decrypt",
  ]);
}
