import type { InsideSeen } from "../../src/protocol/api/doctor.ts";

/** What no documentation says and only a real zone answers. `docs/first-live-run.md` has a section for each, under its id. */
export const QUESTIONS = {
  "d1-batch": "Does D1 count a batch's statements against the queries of an invocation?",
  cpu: "Does control stay within Free's 10 ms of CPU?",
  "zero-trust": "Is there a Zero Trust organisation, or does --access work without one?",
  "new-tunnel": "What does a tunnel's configuration answer before it was ever written?",
  "catch-all": "Is a catch-all rule without a hostname taken?",
  "route-first": "May a Worker route be made before its DNS record?",
  "failure-mode": "Do routes made by the API fail closed or open past Free's requests?",
  "from-request": "Does control's request reach a routed slot's tunnel?",
  "from-object": "Does a Durable Object's request?",
  "from-alarm": "Does an alarm's request?",
  unconnected: "How does a tunnel without a connector answer?",
  "access-inside": "Do requests within the zone meet Access?",
  "access-secret": "Does Access pass the client's secret on to the app?",
} as const;
export type QuestionId = keyof typeof QUESTIONS;

export interface Answer {
  readonly id: QuestionId;
  /** `expected`: Sluice is built for it. `other`: it is not, and the guide says what to change. `unasked`: why not. */
  readonly verdict: "expected" | "other" | "unasked";
  readonly words: string;
}

export const expected = (id: QuestionId, words: string): Answer => ({ id, verdict: "expected", words });
export const other = (id: QuestionId, words: string): Answer => ({ id, verdict: "other", words });
export const unasked = (id: QuestionId, words: string): Answer => ({ id, verdict: "unasked", words });

/** A slot's hostname with a route to the edge and a tunnel that nothing runs: what answers says how far a request got. */
export function judgeReach(id: QuestionId, seen: InsideSeen): Answer {
  if (seen.isShielded) return other(id, "it meets the route: the shield answered, as to a stranger");
  if (seen.stoppedBy !== null) return other(id, `it meets the zone's security: ${seen.stoppedBy}`);
  if (seen.status === null) return unasked(id, `no answer: ${seen.error ?? "unknown"}`);
  const said = answered(seen);
  if (seen.status === 530 || seen.status === 502)
    return expected(id, `it skips the route and reaches the tunnel (${said})`);
  return other(id, `neither the shield nor the tunnel answered (${said})`);
}

export function judgeUnconnected(seen: InsideSeen): Answer {
  const id = "unconnected";
  if (seen.status === null || seen.isShielded || seen.stoppedBy !== null)
    return unasked(id, "no request got as far as the tunnel");
  const isKnown = seen.status === 530 && seen.code === "1033";
  return (isKnown ? expected : other)(id, answered(seen));
}

export function judgeAccessInside(seen: InsideSeen): Answer {
  const id = "access-inside";
  if (seen.status === null) return unasked(id, `no answer: ${seen.error ?? "unknown"}`);
  const isMet = seen.stoppedBy === "access" || seen.status === 401 || seen.status === 403;
  // Its headers are sent either way.
  return expected(
    id,
    isMet ? "they do: the service token's headers are needed" : `they do not (${answered(seen)})`,
  );
}

const answered = ({ status, code }: InsideSeen): string =>
  `${status}${code === null ? "" : `, error ${code}`}`;
