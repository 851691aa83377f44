import type { FailedRequestView } from "../src/protocol/api/failures.ts";
import { clean } from "./io/print.ts";

/** A request that failed, and what the app wrote of it. */
export function failedRequestText(request: FailedRequestView | null): string[] {
  if (!request) return [];
  const { id, route, host, lines, note } = request;
  const where = host === null ? "" : ` on ${host}`;
  return [
    `  request ${clean(id)} failed: ${clean(`${route}${where}`)}${note === null ? "; the app's lines of it:" : ""}`,
    ...(note === null ? [] : [`    ${clean(note)}`]),
    ...lines.map((line) => `    | ${clean(line)}`),
  ];
}
