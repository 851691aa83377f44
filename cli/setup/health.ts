import { z } from "zod";
import { interceptionOf } from "../../src/protocol/interception.ts";
import { duration } from "../io/print.ts";
import type { Session } from "../session.ts";
import { causeOf } from "./cloudflare.ts";
import { tryJson } from "./files.ts";

/** Until a new hostname has its certificate and every colo the new code, minutes may pass. */
const EVERY_MS = 3_000;
const SAY_EVERY_MS = 30_000;
const ASK_MS = 10_000;

const healthSchema = z.object({ status: z.string(), version: z.string() });

export interface Reach {
  readonly fetch: typeof fetch;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

export type Health = { readonly ok: true } | { readonly ok: false; readonly last: string };

/** Waits until control answers as healthy and as this version, or for as long as it may. */
export async function waitForHealth(
  session: Session,
  reach: Reach,
  { url, version, forMs }: { url: string; version: string; forMs: number },
): Promise<Health> {
  const start = session.now();
  let said = start;
  for (;;) {
    const last = await askHealth(reach, url, version, session.signal);
    if (last === null) return { ok: true };
    session.signal.throwIfAborted();
    const now = session.now();
    if (now - start >= forMs) return { ok: false, last };
    if (now - said >= SAY_EVERY_MS) {
      said = now;
      session.out.say(
        `        ${duration(now - start)}: ${last}; a new hostname's certificate may take minutes`,
      );
    }
    await reach.sleep(EVERY_MS, session.signal);
  }
}

/** Null: as it should be. Else what it is. */
async function askHealth(
  reach: Reach,
  url: string,
  version: string,
  signal: AbortSignal,
): Promise<string | null> {
  try {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(ASK_MS)]);
    const answer = await reach.fetch(`${url}/health`, { signal: limit, redirect: "manual" });
    const body = await answer.text();
    const stopped = interceptionOf({ status: answer.status, headers: answer.headers, body });
    if (stopped) return `${stopped.words}; ${stopped.fix}`;
    const parsed = healthSchema.safeParse(tryJson(body));
    if (!parsed.success) return `HTTP ${answer.status} that is not Sluice's`;
    if (parsed.data.status !== "healthy") return `it is ${parsed.data.status}`;
    return parsed.data.version === version ? null : `it still runs ${parsed.data.version}`;
  } catch (error) {
    return error instanceof Error ? causeOf(error) : String(error);
  }
}
