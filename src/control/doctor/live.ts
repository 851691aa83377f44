import type { Check } from "../../domain/doctor/doctor.ts";
import { judgePath, type SlotAnswer } from "../../domain/doctor/live.ts";
import { SHIELD_HEADER } from "../../domain/routing/slot.ts";
import { interceptionOf } from "../../protocol/interception.ts";
import { readBody, textOf } from "../../streams/bounded-body.ts";
import { AT_ONCE, atMost } from "../at-most.ts";
import { type Path, reach } from "../environment/reach.ts";
import type { Db } from "../store/db.ts";
import { readEmptySlots } from "../store/findings.ts";

const DEADLINE_MS = 10_000;
const MOST_HOSTS = 40;
const BODY_MOST = { bytes: 2_000, ms: DEADLINE_MS };

export interface LivePaths {
  readonly checks: readonly Check[];
  /** The slot that was asked of each host with a tunnel: to be asked from outside, too. */
  readonly slots: readonly { readonly host: string; readonly origin: string }[];
}

/** Asks an empty slot of hosts with a tunnel over the path that visitors' requests take, and says how many it left out. Changes nothing. */
export async function examinePaths(db: Db, by: Path): Promise<LivePaths> {
  const slots = (await readEmptySlots(db)).filter(({ origin }) => origin.startsWith("https://"));
  const asked = slots.length <= MOST_HOSTS ? slots : someOf(slots);
  const answers = await atMost(AT_ONCE, asked, (slot) => ask(slot, by));
  const left = slots.length - asked.length;
  return { checks: [...answers.map(judgePath), ...(left > 0 ? [leftOut(left, slots.length)] : [])], slots };
}

/** Other ones each time: all come to be asked. */
function someOf<T>(all: readonly T[]): T[] {
  const from = Math.floor(Math.random() * all.length);
  return [...all.slice(from), ...all.slice(0, from)].slice(0, MOST_HOSTS);
}

const leftOut = (left: number, all: number): Check => ({
  id: "live.path",
  subject: "control",
  status: "skip",
  detail: `${left} of ${all} hosts were not asked: on the Free plan a request may make 50 calls. Run it again, it asks others`,
  fix: null,
});

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
