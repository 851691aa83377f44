import type { Answer } from "./questions.ts";
import { QUESTIONS } from "./questions.ts";

/** Of this installation, and nobody's business in an issue. */
export interface Names {
  readonly zones: readonly string[];
  readonly ids: readonly string[];
}

interface Pasted {
  readonly cli: string;
  readonly control: string;
  readonly answers: readonly Answer[];
  /** Failures and warnings of all checks, by id. */
  readonly troubles: readonly { readonly id: string; readonly status: string }[];
}

const VERDICTS = { expected: "as built", other: "OTHER", unasked: "not asked" } as const;

/** Markdown for an issue: answers, versions and which checks failed; no hostname, id, token or address. */
export function pasted({ cli, control, answers, troubles }: Pasted, names: Names): string {
  const rows = answers.map(
    ({ id, verdict, words }) =>
      `| ${id} | ${QUESTIONS[id]} | ${VERDICTS[verdict]} | ${cell(scrub(words, names))} |`,
  );
  const ids = [...new Set(troubles.map(({ id, status }) => `${id} (${status})`))];
  return [
    `sluice ${cli}, control ${scrub(control, names)}`,
    "",
    "| id | question | verdict | answer |",
    "|---|---|---|---|",
    ...rows,
    "",
    `checks: ${ids.join(", ") || "all fine"}`,
  ].join("\n");
}

const cell = (text: string): string => text.replaceAll("|", "\\|").replace(/\s+/g, " ");

const SECRETS = [
  /\b(?:slu|cfast|cfut|cfat)_[\w-]+/g,
  /\b[\w-]{32,}\b/g,
  /\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/gi,
  /[\w.+-]+@[\w-]+(?:\.[\w-]+)+/g,
  /\b(?:\d{1,3}\.){3}\d{1,3}\b/g,
];

/** What Cloudflare says may name what was asked. */
function scrub(text: string, { zones, ids }: Names): string {
  const named = zones.reduce(
    (left, zone) =>
      left.replace(new RegExp(`(?:[\\w-]+\\.)*${zone.replaceAll(".", "\\.")}`, "gi"), "<hostname>"),
    text,
  );
  const known = ids.reduce((left, id) => left.replaceAll(id, "<id>"), named);
  return SECRETS.reduce((left, secret) => left.replace(secret, "<hidden>"), known);
}
