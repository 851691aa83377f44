import {
  formatSlotProof,
  isSlotHostname,
  SHIELD_HEADER,
  SLOT_PROOF_HEADER,
  SLOT_PROOF_LIFE_S,
  slotProofPayload,
} from "../../domain/routing/slot.ts";
import { interceptionOf } from "../../protocol/interception.ts";
import { readBody, textOf } from "../../streams/bounded-body.ts";
import { toHex } from "../bytes.ts";
import type { ControlEnv } from "../env.ts";

/** What opens the way to a slot behind a tunnel. Nothing of it is needed for hosts with an address of their own. */
export type Path = Pick<
  ControlEnv,
  "SLOT_ZONE" | "SHIELD_KEY" | "ACCESS_CLIENT_ID" | "ACCESS_CLIENT_SECRET"
> & {
  readonly [slot: `http://${string}`]: Fetcher | undefined;
};
/** What is asked of an instance: under its app's public name, as a visitor would. */
export interface Question {
  readonly origin: string;
  readonly path: string;
  readonly publicHost: string;
  /** The name that a visitor would have used, where it is another one. */
  readonly visited?: string;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** The header by which an app can keep it out of its own statistics. */
  readonly mark?: typeof PROBE | typeof SYNTHETIC;
}

/** No visitor's request has either: the edge drops both. */
const PROBE = "x-sluice-probe";
export const SYNTHETIC = "x-sluice-synthetic";

/**
 * Asks an instance at its origin, on the way that visitors' requests take. Whether a request of control's meets the shield
 * depends on the zone it comes from, so the proof is shown only to a shield that asked for it: it never reaches the app.
 */
export async function reach(
  { origin, path, publicHost, visited = publicHost, headers: asked, mark = PROBE }: Question,
  by: Path,
  signal: AbortSignal,
): Promise<Response> {
  const { hostname } = new URL(origin);
  const headers: Record<string, string> = {
    "user-agent": "sluice",
    ...asked,
    [mark]: "1",
    "x-forwarded-host": visited,
    "x-forwarded-proto": "https",
  };
  const isSlot = by.SLOT_ZONE !== undefined && isSlotHostname(hostname, by.SLOT_ZONE);
  if (isSlot && by.ACCESS_CLIENT_ID && by.ACCESS_CLIENT_SECRET) {
    headers["cf-access-client-id"] = by.ACCESS_CLIENT_ID;
    headers["cf-access-client-secret"] = by.ACCESS_CLIENT_SECRET;
  }
  const door = by[origin as `http://${string}`];
  const url = (door === undefined ? origin : `http://${publicHost}`) + path;
  const ask = () => (door ?? globalThis).fetch(url, { redirect: "manual", headers, signal });
  const answer = await ask();
  if (!isSlot || !by.SHIELD_KEY || !answer.headers.has(SHIELD_HEADER)) return answer;
  await answer.body?.cancel();
  headers[SLOT_PROOF_HEADER] = await proofOf(hostname, by.SHIELD_KEY);
  return ask();
}

/** Of a refusal, as much as tells Cloudflare's own pages from an app's. */
const PAGE_MOST = { bytes: 10_000, ms: 1_000 };

/** `answered 403`, and who it was if it was not the app. Reads the body. */
export async function answeredText(response: Response): Promise<string> {
  const { status, headers } = response;
  const body = await readBody(response.body, PAGE_MOST).then(textOf, () => "");
  const stopped = interceptionOf({ status, headers, body });
  return `answered ${status}${stopped ? `: ${stopped.words}. ${stopped.fix}` : ""}`;
}

async function proofOf(hostname: string, secret: string): Promise<string> {
  const encoder = new TextEncoder();
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", encoder.encode(secret), algorithm, false, ["sign"]);
  const expiresAtS = Math.floor(Date.now() / 1_000) + SLOT_PROOF_LIFE_S;
  const payload = encoder.encode(slotProofPayload(hostname, expiresAtS));
  return formatSlotProof({ expiresAtS, signature: toHex(await crypto.subtle.sign("HMAC", key, payload)) });
}
