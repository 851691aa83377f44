import { SHIELD_HEADER } from "../../domain/routing/slot.ts";
import { interceptionOf } from "../../protocol/interception.ts";
import { readBody, textOf } from "../../streams/bounded-body.ts";

/** What a slot's hostname answered to a bare request: without proof, without Access's headers. */
export interface Seen {
  /** Null: no answer, and `error` says why. */
  readonly status: number | null;
  readonly error: string | null;
  /** Cloudflare's own error code in the body: 1033, 1016. */
  readonly code: string | null;
  readonly isShielded: boolean;
  /** Which of Cloudflare's securities answered. */
  readonly stoppedBy: string | null;
}

const DEADLINE_MS = 10_000;
const BODY_MOST = { bytes: 10_000, ms: DEADLINE_MS };

/** Asks from wherever it is called: which routes and what security such a request meets is what the caller wants to know. */
export async function look(url: string): Promise<Seen> {
  try {
    const headers = { "user-agent": "sluice", "x-sluice-probe": "1" };
    const signal = AbortSignal.timeout(DEADLINE_MS);
    const response = await fetch(url, { redirect: "manual", headers, signal });
    const body = textOf(await readBody(response.body, BODY_MOST));
    return {
      status: response.status,
      error: null,
      code: /\b(1\d{3})\b/.exec(body.slice(0, 2_000))?.[1] ?? null,
      isShielded: response.headers.has(SHIELD_HEADER),
      stoppedBy: interceptionOf({ status: response.status, headers: response.headers, body })?.by ?? null,
    };
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    return { status: null, error: words, code: null, isShielded: false, stoppedBy: null };
  }
}
