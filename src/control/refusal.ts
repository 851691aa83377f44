import type { Refusal as DomainRefusal } from "../domain/commands/refusal.ts";
import type { Problem, ProblemCode } from "../protocol/problem.ts";

/** An expected "no", from wherever it comes: the domain's, with what only the wire can say beside it. */
export interface Refusal extends DomainRefusal<ProblemCode> {
  readonly errors?: Problem["errors"];
  readonly retryAfterS?: number;
  readonly headers?: Readonly<Record<string, string>>;
}
