import type { Check } from "../domain/doctor.ts";
import { judgePath, type SlotAnswer } from "../domain/doctor-live.ts";
import type { Db } from "./store/db.ts";
import { readEmptySlots } from "./store/findings.ts";

const DEADLINE_MS = 10_000;
const BODY_CHARS = 2_000;

export interface LivePaths {
  readonly checks: readonly Check[];
  /** The slot that was asked of each host with a tunnel: to be asked from outside, too. */
  readonly slots: readonly { readonly host: string; readonly origin: string }[];
}

/** Asks an empty slot of every host with a tunnel over the path that visitors' requests take. Changes nothing. */
export async function examinePaths(db: Db): Promise<LivePaths> {
  const slots = (await readEmptySlots(db)).filter(({ origin }) => origin.startsWith("https://"));
  const answers = await Promise.all(slots.map(ask));
  return { checks: answers.map(judgePath), slots };
}

async function ask({ host, origin }: { host: string; origin: string }): Promise<SlotAnswer> {
  const start = Date.now();
  const answered = { host, origin, status: null, error: null, body: "", location: null };
  try {
    const response = await fetch(origin, {
      redirect: "manual",
      headers: { "user-agent": "sluice" },
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
    const body = (await response.text()).slice(0, BODY_CHARS);
    const { status } = response;
    return {
      ...answered,
      status,
      body,
      location: response.headers.get("location"),
      durationMs: Date.now() - start,
    };
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    return { ...answered, error: words, durationMs: Date.now() - start };
  }
}
