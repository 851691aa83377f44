/**
 * The shield of slots' hostnames: a Worker route leads whoever asks for one from outside here, and here it ends. The edge's own
 * requests within the slots' zone never meet the route; from another zone of the account they do, and carry a proof.
 */
import {
  isWithin,
  SHIELD_HEADER,
  SLOT_LABEL_CHARS,
  SLOT_PROOF_HEADER,
  zoneOfSlot,
} from "../domain/routing/slot.ts";
import type { Env } from "./env.ts";

const encoder = new TextEncoder();
/**
 * Each slot's proof is made once per isolate. What is kept is the value: a promise belongs to the request that made it, and
 * another one that waits for it may wait for ever.
 */
const proofs = new Map<string, string>();
const PROOFS_MOST = 10_000;
let held: { readonly secret: string; readonly key: CryptoKey } | null = null;
/** `sl-`, the label, and the dot. */
const BEFORE_ZONE = 3 + SLOT_LABEL_CHARS + 1;

/** Whether a request for this hostname is one for a slot. Without a zone of slots nothing is. */
export const isShielded = (hostname: string, env: Env): boolean =>
  env.SLOT_ZONE !== undefined && hostname.startsWith("sl-") && zoneOfSlot(hostname) !== null;

/** Lets through who proves to be the edge, without the proof: the app is not to see it. All others find nothing. */
export async function guard(request: Request, hostname: string, { SHIELD_KEY }: Env): Promise<Response> {
  const given = request.headers.get(SLOT_PROOF_HEADER);
  if (given === null || SHIELD_KEY === undefined || !(await isProof(given, hostname, SHIELD_KEY))) {
    return new Response("Not found\n", {
      status: 404,
      headers: { [SHIELD_HEADER]: "1", "Cache-Control": "no-store" },
    });
  }
  const headers = new Headers(request.headers);
  headers.delete(SLOT_PROOF_HEADER);
  return fetch(new Request(request, { headers }), { redirect: "manual", cache: "no-store" });
}

/** Whether a request from this public hostname enters the slot's zone by the front door, where the shield is. */
export const meetsShield = (publicHostname: string, slot: string, env: Env): boolean =>
  env.SHIELD_KEY !== undefined &&
  env.SLOT_ZONE !== undefined &&
  slot.startsWith("sl-") &&
  !isWithin(publicHostname, slot.slice(BEFORE_ZONE)) &&
  zoneOfSlot(slot) !== null;

/** The headers with the service token that opens a slot behind Access. A host with an address of its own never sees it. */
export function withAccess(headers: Headers, host: string, env: Env): Headers {
  const { ACCESS_CLIENT_ID: id, ACCESS_CLIENT_SECRET: secret } = env;
  if (id === undefined || secret === undefined || !host.startsWith("sl-") || zoneOfSlot(host) === null)
    return headers;
  const opened = new Headers(headers);
  opened.set("cf-access-client-id", id);
  opened.set("cf-access-client-secret", secret);
  return opened;
}

/** The headers with the slot's proof. */
export async function withProof(headers: Headers, slot: string, { SHIELD_KEY = "" }: Env): Promise<Headers> {
  let proof = proofs.get(slot);
  if (proof === undefined) {
    proof = await sign(slot, SHIELD_KEY);
    if (proofs.size >= PROOFS_MOST) proofs.clear();
    proofs.set(slot, proof);
  }
  const proven = new Headers(headers);
  proven.set(SLOT_PROOF_HEADER, proof);
  return proven;
}

async function sign(slot: string, secret: string): Promise<string> {
  const bytes = new Uint8Array(await crypto.subtle.sign("HMAC", await keyOf(secret), encoder.encode(slot)));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function isProof(given: string, slot: string, secret: string): Promise<boolean> {
  if (!/^[0-9a-f]{64}$/.test(given)) return false;
  const bytes = Uint8Array.from(given.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  return crypto.subtle.verify("HMAC", await keyOf(secret), bytes, encoder.encode(slot));
}

async function keyOf(secret: string): Promise<CryptoKey> {
  if (held?.secret === secret) return held.key;
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", encoder.encode(secret), algorithm, false, [
    "sign",
    "verify",
  ]);
  held = { secret, key };
  return key;
}
