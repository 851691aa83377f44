import { z } from "zod";
import { parseJson } from "../../../protocol/json.ts";
import { failed, type Sent } from "../send-webhook.ts";
import { oneLine } from "../text.ts";

/** What GitHub answered that is no success. */
export interface Refusal {
  readonly status: number;
  readonly headers: Headers;
  readonly said: string;
}

const HOUR_MS = 3_600_000;
/** Without a word of when: https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api */
const SECONDARY_MS = 60_000;
/** A commit that is released before it is pushed: it may come yet. */
const TRIES_FOR_COMMIT = 3;

/**
 * How a try went that was refused. What no second try mends ends the target (a token, a permission, a repository that is
 * gone) or this message alone (what GitHub finds wrong in it). `tries`: this one and those before.
 */
export function refusalSent(
  refusal: Refusal,
  about: { readonly repository: string; readonly now: number; readonly tries: number },
): Sent {
  const { status, headers } = refusal;
  const words = wordsOf(refusal.said);
  const waitMs = pauseOf(refusal, words, about.now);
  const said = `GitHub answered ${status}${words === "" ? "" : ` (${words})`}`;
  if (waitMs !== null) return failed(said, { status, retryAfterMs: waitMs, quietMs: waitMs, isPaced: true });
  const cause = hopeless(status, headers, about.repository);
  if (cause !== undefined) return failed(`${said}: ${cause}`, { status, gone: true });
  if (/no (?:ref|commit) found/i.test(words))
    return failed(`${said}: the commit is not in ${about.repository}; was it pushed?`, {
      status,
      isFinal: about.tries >= TRIES_FOR_COMMIT,
    });
  return failed(said, { status, isFinal: status === 409 || status === 422 });
}

/** What somebody has to mend there; undefined: nothing of the kind. */
function hopeless(status: number, headers: Headers, repository: string): string | undefined {
  const wanted = headers.get("x-accepted-github-permissions")?.slice(0, 100);
  if (status === 401) return "its token or key is wrong, revoked, or past its date";
  if (status === 403)
    return headers.has("x-github-sso")
      ? "the token has to be authorized for the organization's single sign-on"
      : `the token lacks a permission${wanted ? `: ${wanted}` : ", or the repository is archived"}`;
  if (status === 404) return `${repository} is not there, or the token may not see it or write there`;
  if (status === 301 || status === 307 || status === 308)
    return `${repository} was renamed or moved: add it by its new name`;
  return status === 410 || status === 451 ? `${repository} can't be told any more` : undefined;
}

/** How long GitHub wants to be left in peace; null: that is not what it says. */
function pauseOf({ status, headers }: Refusal, words: string, now: number): number | null {
  if (status !== 403 && status !== 429) return null;
  const after = Number(headers.get("retry-after") ?? Number.NaN);
  if (after > 0) return Math.min(after * 1_000, HOUR_MS);
  const reset = Number(headers.get("x-ratelimit-reset") ?? Number.NaN) * 1_000;
  if (headers.get("x-ratelimit-remaining") === "0" && Number.isFinite(reset))
    return Math.min(Math.max(reset - now, 1_000), HOUR_MS);
  return status === 429 || /rate limit|abuse/i.test(words) ? SECONDARY_MS : null;
}

const errorSchema = z.object({
  message: z.string(),
  errors: z
    .array(z.union([z.string(), z.object({ field: z.string().optional(), message: z.string().optional() })]))
    .optional(),
});

/** GitHub's own words, short. */
function wordsOf(said: string): string {
  const parsed = errorSchema.safeParse(parseJson(said));
  if (!parsed.success) return "";
  const { message, errors = [] } = parsed.data;
  const more = errors.map((one) => (typeof one === "string" ? one : (one.message ?? one.field ?? "")));
  return oneLine([message, ...more].filter((part) => part !== "").join("; ")).slice(0, 200);
}
