import { randomInt } from "node:crypto";

/** No run asks for longer than this. */
export const RUN_MOST_MS = 20 * 60_000;
/** A run that began so long ago, by control's clock, which all of them go by, makes nothing any more. */
const OVER_MS = 30 * 60_000;

const SECONDS_CHARS = 6;
const CHARS = 10;
const BASE = 36;

/** What tells a run's things from another's: when it began, in seconds, and by chance. Ten characters of 0-9 and a-z. */
export function newRun(now: number): string {
  const seconds = Math.floor(now / 1_000)
    .toString(BASE)
    .padStart(SECONDS_CHARS, "0");
  const chars = CHARS - SECONDS_CHARS;
  return (
    seconds +
    randomInt(BASE ** chars)
      .toString(BASE)
      .padStart(chars, "0")
  );
}

/** What carries it: a tunnel, a Worker, a policy. */
export const NAME = "sluice-doctor-";
export const nameOf = (run: string): string => NAME + run;

/** Epoch ms. */
export const beginOf = (run: string): number => Number.parseInt(run.slice(0, SECONDS_CHARS), BASE) * 1_000;

/** Epoch ms from which on nothing of it is in use any more. */
export const overAt = (run: string): number => beginOf(run) + OVER_MS;

/** The run in a text that begins and ends with these; null: it is no run's. */
export function runIn(text: string, begin: string, end = ""): string | null {
  if (!text.startsWith(begin) || !text.endsWith(end)) return null;
  const run = text.slice(begin.length, text.length - end.length);
  return /^[0-9a-z]{10}$/.test(run) ? run : null;
}

export const timeOf = (at: number): string =>
  `${new Date(at).toISOString().slice(0, 16).replace("T", " ")} UTC`;
