import { nextLines } from "../follow/release-end.ts";
import { clean, type Paint } from "./print.ts";
import type { CliProblem } from "./problem.ts";

interface ErrorParts {
  readonly problem: CliProblem;
  /** The manifest's text, when the errors have lines in it. */
  readonly source: { readonly path: string; readonly text: string } | undefined;
  readonly next: readonly { readonly command: string; readonly when: string }[];
  readonly paint: Paint;
}

/** A problem as one block: what, where, what next. */
export function errorBlock({ problem, source, next, paint }: ErrorParts): string {
  const title =
    problem.title.toLowerCase() === problem.detail.toLowerCase() ? "" : `${clean(problem.title)}: `;
  const lines = [
    `${paint("red", "error:")} ${title}${problem.detail.split("\n").map(clean).join("\n  ")}`,
    ...(problem.errors ?? [])
      .filter((error) => error.line !== undefined || !problem.detail.includes(error.detail))
      .flatMap((error) => place(error, source, paint)),
    ...nextLines(next, paint),
    paint("dim", `  more:  sluice explain ${problem.code}`),
  ];
  if (problem.requestId) lines.push(paint("dim", `  request ${clean(problem.requestId)}`));
  return lines.join("\n");
}

type InputError = NonNullable<CliProblem["errors"]>[number];

/** `sluice.yaml:12:5`, the line itself, and a mark under the place. */
function place(error: InputError, source: ErrorParts["source"], paint: Paint): string[] {
  const line = error.line === undefined ? undefined : source?.text.split(/\r?\n/)[error.line - 1];
  if (!source || line === undefined || error.line === undefined) {
    const where = error.line === undefined ? error.pointer : `line ${error.line}`;
    return [`  ${where ? `${clean(where)}: ` : ""}${clean(error.detail)}`];
  }
  const column = error.column ?? 1;
  const number = String(error.line);
  return [
    `  ${paint("bold", `${source.path}:${error.line}:${column}`)}  ${clean(error.detail)}`,
    `    ${number} | ${clean(line)}`,
    `    ${" ".repeat(number.length)} | ${" ".repeat(column - 1)}${paint("red", "^")}`,
  ];
}
