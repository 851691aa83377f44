/**
 * The shield of slots' hostnames: a Worker route leads whoever asks for one from outside here, and here it ends. The edge's own
 * requests within the slots' zone never meet the route; from another zone of the account they do, and carry a proof.
 */
import {
  formatSlotProof,
  isSlotHostname,
  isWithin,
  parseSlotProof,
  SHIELD_HEADER,
  SLOT_LABEL_CHARS,
  SLOT_PROOF_HEADER,
  SLOT_PROOF_LIFE_S,
  slotProofPayload,
  zoneOfSlot,
} from "../domain/routing/slot.ts";
import type { Env } from "./env.ts";

const encoder = new TextEncoder();
/**
 * Each slot's proof serves this isolate for its life but a minute. What is kept is the value: a promise belongs to the request that made it, and
 * another one that waits for it may wait for ever.
 */
const proofs = new Map<string, { readonly text: string; readonly expiresAtS: number }>();
const PROOFS_MOST = 10_000;
const RENEWED_BEFORE_S = 60;
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
  return fetch(new Request(request, { headers }), { redirect: "manual", cf: { cacheTtl: -1 } });
}

/** Whether a request from this public hostname enters the slot's zone by the front door, where the shield is. */
export const meetsShield = (publicHostname: string, slot: string, env: Env): boolean =>
  env.SHIELD_KEY !== undefined &&
  env.SLOT_ZONE !== undefined &&
  slot.startsWith("sl-") &&
  !isWithin(publicHostname, slot.slice(BEFORE_ZONE)) &&
  zoneOfSlot(slot) !== null;

/**
 * The headers with the service token that opens a slot behind Access. Only slots of the installation's own zone see it: a name
 * that looks like a slot's can be had in any zone.
 */
export function withAccess(headers: Headers, host: string, env: Env): Headers {
  const { ACCESS_CLIENT_ID: id, ACCESS_CLIENT_SECRET: secret, SLOT_ZONE: zone } = env;
  if (id === undefined || secret === undefined || zone === undefined) return headers;
  if (!isSlotHostname(host, zone)) return headers;
  const opened = new Headers(headers);
  opened.set("cf-access-client-id", id);
  opened.set("cf-access-client-secret", secret);
  return opened;
}

/** The headers with the slot's proof. */
export async function withProof(headers: Headers, slot: string, { SHIELD_KEY = "" }: Env): Promise<Headers> {
  const nowS = Math.floor(Date.now() / 1_000);
  let proof = proofs.get(slot);
  if (proof === undefined || proof.expiresAtS < nowS + RENEWED_BEFORE_S) {
    const expiresAtS = nowS + SLOT_PROOF_LIFE_S;
    proof = { text: await sign(slot, expiresAtS, SHIELD_KEY), expiresAtS };
    if (proofs.size >= PROOFS_MOST) proofs.clear();
    proofs.set(slot, proof);
  }
  const proven = new Headers(headers);
  proven.set(SLOT_PROOF_HEADER, proof.text);
  return proven;
}

async function sign(slot: string, expiresAtS: number, secret: string): Promise<string> {
  const payload = encoder.encode(slotProofPayload(slot, expiresAtS));
  const bytes = new Uint8Array(await crypto.subtle.sign("HMAC", await keyOf(secret), payload));
  const signature = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return formatSlotProof({ expiresAtS, signature });
}

async function isProof(given: string, slot: string, secret: string): Promise<boolean> {
  const proof = parseSlotProof(given);
  if (proof === null || proof.expiresAtS * 1_000 <= Date.now()) return false;
  const bytes = Uint8Array.from(proof.signature.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  const payload = encoder.encode(slotProofPayload(slot, proof.expiresAtS));
  return crypto.subtle.verify("HMAC", await keyOf(secret), bytes, payload);
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
