import { isNumber } from "../previews/hostname.ts";
import { type Claims, type Provider, stringOf } from "./claims.ts";

/** Of the job that a pull request started, as its CI system signed it. */
export interface PullRequest {
  readonly number: number;
  /** Rises from run to run; null: it is not told. */
  readonly run: number | null;
}

/** What a pull request's job is called in `event_name`. Its ref is `refs/pull/<number>/merge`, whoever opened it. */
export const PULL_REQUEST = "pull_request";
export const PULL_REFS = ["refs/pull/*/merge", "refs/pull/*/head"];
/** Systems whose tokens name the pull request. The others' name a branch, which is anybody's who may push one. */
export const PULL_PROVIDERS: readonly Provider[] = ["github", "forgejo"];
/** Events of any system that run what a pull request brought, or may. */
export const PULL_EVENTS: readonly string[] = [
  PULL_REQUEST,
  "pull_request_target",
  "pull_request_review",
  "pull_request_review_comment",
  "merge_request_event",
  "external_pull_request_event",
];

export function pullRequestOf(claims: Claims): PullRequest | null {
  const [, number] = /^refs\/pull\/(\d+)\/(?:merge|head)$/.exec(stringOf(claims.ref) ?? "") ?? [];
  if (claims.event_name !== PULL_REQUEST || number === undefined || !isNumber(number)) return null;
  const run = Number(stringOf(claims.run_id) ?? stringOf(claims.run_number) ?? Number.NaN);
  return { number: Number(number), run: Number.isSafeInteger(run) ? run : null };
}
