import { appendFileSync, statSync } from "node:fs";
import { clean, duration } from "../io/print.ts";
import type { Session } from "../session.ts";
import type { StageEnd } from "./stages.ts";

/** What a job's summary says of a ship. */
export interface Summary {
  readonly title: string;
  readonly ok: boolean;
  readonly stages: readonly StageEnd[];
  readonly facts: readonly (readonly [string, string | undefined])[];
  /** The last lines of what failed. */
  readonly tail: readonly string[];
}

/** GitHub drops a step's whole summary when it has more than 1 MiB. Other steps' texts may be in the file already. */
const MOST = 1024 * 1024 - 4_096;
const CELL_MOST = 2_000;

/** Text of others in a cell: no markup of theirs, and no end of the row. */
const cell = (text: string) =>
  text
    .slice(0, CELL_MOST)
    .replace(/[\r\n]+/g, " ")
    .replace(/[|<>&\\`*_[\]]/g, (c) => `&#${c.charCodeAt(0)};`);

export function summaryText({ title, ok, stages, facts, tail }: Summary): string {
  const rows = stages.map(
    ({ stage, result, ms, note }) =>
      `| ${stage} | ${result} | ${result === "skipped" ? "" : duration(ms)} | ${cell(note)} |`,
  );
  const lines = facts.filter((pair): pair is [string, string] => pair[1] !== undefined);
  const fence = "`".repeat(Math.max(3, ...(tail.join("\n").match(/`+/g) ?? []).map((run) => run.length + 1)));
  return [
    `### ${ok ? "✅" : "❌"} ${cell(title)}`,
    "",
    "| stage | | took | |",
    "|---|---|---|---|",
    ...rows,
    "",
    ...(lines.length > 0
      ? ["| | |", "|---|---|", ...lines.map(([name, value]) => `| ${name} | ${cell(value)} |`), ""]
      : []),
    ...(tail.length > 0
      ? [
          "<details><summary>Last lines</summary>",
          "",
          `${fence}text`,
          ...tail.map((line) => clean(line).slice(0, CELL_MOST)),
          fence,
          "",
          "</details>",
          "",
        ]
      : []),
    "",
  ].join("\n");
}

/** Appends it where the CI system wants summaries. One that doesn't fit, or can't be written, is no reason to fail. */
export function writeSummary(session: Session, summary: Summary): void {
  const file = session.env.GITHUB_STEP_SUMMARY;
  if (!file) return;
  try {
    const has = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
    const whole = summaryText(summary);
    const text = Buffer.byteLength(whole) + has <= MOST ? whole : summaryText({ ...summary, tail: [] });
    if (Buffer.byteLength(text) + has <= MOST) appendFileSync(file, text);
  } catch (error) {
    session.out.say(`the job's summary was not written: ${(error as Error).message}`);
  }
}
