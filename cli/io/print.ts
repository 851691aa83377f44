import { stripVTControlCharacters, styleText } from "node:util";
import stringWidth from "string-width";
import { inWords as stateInWords } from "../../src/domain/state-words.ts";
import { moment, spell } from "../../src/domain/times.ts";

/** Text as people read it. Pure: no stream, no clock. */

export type Paint = (style: Style, text: string) => string;
export type Style = "bold" | "dim" | "red" | "green" | "yellow" | "cyan" | "magenta" | "blue";
export const plain: Paint = (_style, text) => text;
export const coloured: Paint = (style, text) => styleText(style, text, { validateStream: false });

/** Text from elsewhere (app logs, other people's names) must not steer the reader's terminal. */
export function clean(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  return stripVTControlCharacters(text).replace(/[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/g, " ");
}

/**
 * What nobody's terminal shows is read by a CI: GitHub obeys `##[command]` anywhere in a line and `::command::` at its
 * beginning, whoever wrote it. Broken by a character that isn't seen.
 */
export const tame = (text: string): string =>
  text.replaceAll("##[", "##\u200b[").replace(/^(\s*:)(?=:)/gm, "$1\u200b");

export { spell as duration } from "../../src/domain/times.ts";

/** `2026-11-29 12:04:05 UTC`, from an ISO time. */
export const at = (iso: string): string => moment(Date.parse(iso));

/** A state that came from elsewhere, as people read it. */
export const inWords = (state: string): string => stateInWords(clean(state));

/** `0:07`, `12:31`, `1:00:02`. */
export function clock(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  const hours = Math.floor(seconds / 3_600);
  const minutes = Math.floor(seconds / 60) % 60;
  return hours > 0 ? `${hours}:${pad(minutes)}:${pad(seconds % 60)}` : `${minutes}:${pad(seconds % 60)}`;
}

/** The time at the head of a log line: `0.4s`, `59.9s`, then `1:05`. */
export const stamp = (ms: number) =>
  (ms < 60_000 ? `${(Math.floor(Math.max(0, ms) / 100) / 10).toFixed(1)}s` : clock(ms)).padStart(7);

const pad = (n: number) => String(n).padStart(2, "0");

export const percent = (value: number) => `${Number(value.toFixed(2))}%`;
export const count = (value: number) => value.toLocaleString("en-US");
export const plural = (value: number, noun: string) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;

/** `2 m 5 s ago`, from an ISO time. */
export const ago = (iso: string, now: number) => `${seconds(now - Date.parse(iso), Math.floor)} ago`;
/** `in 9 m`, or `now` once past. */
export const until = (iso: string, now: number) =>
  Date.parse(iso) > now ? `in ${seconds(Date.parse(iso) - now, Math.ceil)}` : "now";

const seconds = (ms: number, whole: (value: number) => number): string =>
  spell(Math.max(1, whole(ms / 1_000)) * 1_000);

/** Columns aligned, no trailing blanks; the first row is the heading. */
export function table(rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => row.map(clean));
  const widths = (cells[0] ?? []).map((_, column) =>
    Math.max(...cells.map((row) => stringWidth(row[column] ?? ""))),
  );
  return cells
    .map((row) =>
      row
        .map((cell, column) => padEnd(cell, widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** `label  value` lines, labels aligned. */
export function facts(pairs: readonly (readonly [string, string | undefined])[], indent = "  "): string[] {
  const shown = pairs.filter((pair): pair is readonly [string, string] => pair[1] !== undefined);
  const width = Math.max(0, ...shown.map(([label]) => stringWidth(label)));
  return shown.map(([label, value]) => `${indent}${padEnd(label, width)}  ${value}`);
}

/** By the terminal's columns: an ideograph takes two, a combining mark none. */
const padEnd = (text: string, columns: number): string =>
  text + " ".repeat(Math.max(0, columns - stringWidth(text)));

/** For a POSIX shell; what needs no quotes gets none. */
export const quote = (word: string) =>
  /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
