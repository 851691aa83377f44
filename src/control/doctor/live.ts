import type { Check } from "../../domain/doctor/doctor.ts";
import { judgePath, type SlotAnswer } from "../../domain/doctor/live.ts";
import { SHIELD_HEADER } from "../../domain/routing/slot.ts";
import { interceptionOf } from "../../protocol/interception.ts";
import { readBody, textOf } from "../../streams/bounded-body.ts";
import { type Path, reach } from "../environment/reach.ts";
import type { Db } from "../store/db.ts";
import { readEmptySlots } from "../store/findings.ts";

const DEADLINE_MS = 10_000;
const BODY_MOST = { bytes: 2_000, ms: DEADLINE_MS };

export interface LivePaths {
  readonly checks: readonly Check[];
  /** The slot that was asked of each host with a tunnel: to be asked from outside, too. */
  readonly slots: readonly { readonly host: string; readonly origin: string }[];
}

/** Asks an empty slot of every host with a tunnel over the path that visitors' requests take. Changes nothing. */
export async function examinePaths(db: Db, by: Path): Promise<LivePaths> {
  const slots = (await readEmptySlots(db)).filter(({ origin }) => origin.startsWith("https://"));
  const answers = await Promise.all(slots.map((slot) => ask(slot, by)));
  return { checks: answers.map(judgePath), slots };
}

async function ask({ host, origin }: { host: string; origin: string }, by: Path): Promise<SlotAnswer> {
  const start = Date.now();
  const answered = { host, origin, status: null, error: null, body: "", stopped: null, isShielded: false };
  try {
    // Nobody's slot: it is asked under its own name.
    const question = { origin, path: "/", publicHost: new URL(origin).hostname };
    const response = await reach(question, by, AbortSignal.timeout(DEADLINE_MS));
    const body = textOf(await readBody(response.body, BODY_MOST));
    const { status, headers } = response;
    const isShielded = headers.has(SHIELD_HEADER);
    const stopped = interceptionOf({ status, headers, body });
    return { ...answered, status, body, stopped, isShielded, durationMs: Date.now() - start };
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    return { ...answered, error: words, durationMs: Date.now() - start };
  }
}
