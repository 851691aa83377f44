import type { Ran } from "./run.ts";
import type { Told } from "./setting.ts";

/** What happened, in order: time, who, what. */
export function storyOf(story: readonly Told[]): string {
  return story.map(({ at, who, what }) => `${clock(at)}  ${who.padEnd(8)} ${what}`).join("\n");
}

/** A run's faults, one a line. */
export const faultsOf = ({ faults }: Ran): string[] =>
  faults.map(({ at, kind, text }) => `${clock(at)}  ${kind}: ${text}`);

/** `12:03.250`: minutes, seconds, ms since the beginning. */
function clock(at: number): string {
  const pad = (value: number, digits: number) => String(value).padStart(digits, "0");
  return `${pad(Math.floor(at / 60_000), 2)}:${pad(Math.floor(at / 1_000) % 60, 2)}.${pad(at % 1_000, 3)}`;
}
