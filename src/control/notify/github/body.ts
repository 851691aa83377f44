import { cut } from "../../../domain/notify/notice.ts";
import { isPreviewName } from "../../../domain/previews/hostname.ts";
import type { ReleaseState } from "../../../domain/rollout/release.ts";
import { spell } from "../../../domain/times.ts";
import type { Message } from "../body.ts";
import { oneLine } from "../text.ts";
import { isRepository } from "./repository.ts";

/** What GitHub is told of one step of a release: of its Deployment, and of its commit. */
export interface GitHubBody {
  /** By it the release's Deployment is found again. */
  readonly release: string;
  /** A whole hash: a name would mean another commit tomorrow. */
  readonly sha: string;
  /** As GitHub is to call it. */
  readonly environment: string;
  readonly isProduction: boolean;
  /** Gone for good some day, as a pull request's is. */
  readonly isTransient: boolean;
  readonly state: DeploymentState;
  readonly description: string;
  readonly logUrl: string | null;
  readonly environmentUrl: string | null;
  /** Null: this says nothing new of the commit. */
  readonly commit: { readonly state: CommitState; readonly context: string } | null;
}
type DeploymentState = "queued" | "in_progress" | "success" | "failure" | "inactive";
type CommitState = "pending" | "success" | "failure" | "error";

/** What a release's state is there. Those between the first and the shift say nothing new. */
const STATES: { readonly [S in ReleaseState]?: readonly [DeploymentState, CommitState | null] } = {
  queued: ["queued", "pending"],
  preparing: ["in_progress", "pending"],
  shifting: ["in_progress", null],
  settling: ["success", "success"],
  live: ["success", "success"],
  rolling_back: ["in_progress", null],
  rolled_back: ["failure", "failure"],
  failed: ["failure", "failure"],
  aborted: ["failure", "failure"],
  superseded: ["inactive", null],
};
/** https://docs.github.com/rest/deployments/statuses: "The maximum description length is 140 characters." */
const DESCRIPTION = 140;

/**
 * What a target is to be sent of a message; undefined: nothing. `moved`: the state's event, with the state before; `target`:
 * the repository's web address, and whether it is told of one app, whose environments then have their plain names.
 */
export function githubBody(
  message: Message,
  moved: { readonly from: unknown },
  target: { readonly url: string; readonly app: string | null },
): GitHubBody | undefined {
  const { release, app, environment, source, links } = message.data;
  const state = /^release\.(.+)$/.exec(message.type)?.[1] as ReleaseState | undefined;
  const told = state && STATES[state];
  // It served before already, and that was told.
  if (!told || (state === "live" && moved.from === "settling")) return undefined;
  if (release === null || environment === null || !source || !isRepository(target.url, source.repository))
    return undefined;
  if (!/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(source.commit)) return undefined;
  const commit = told[1] ?? (gaveWayUnserved(state, moved.from) ? "error" : null);
  return {
    ...{ release, sha: source.commit, state: told[0], description: describe(message) },
    environment: target.app === null ? `${app}/${environment}` : environment,
    isProduction: environment === "production",
    isTransient: isPreviewName(environment),
    logUrl: links.release ?? links.run ?? null,
    environmentUrl: told[0] === "success" ? (links.app ?? null) : null,
    commit: commit && { state: commit, context: `sluice/${app}/${environment}` },
  };
}

/** Its commit would wait for ever. */
const gaveWayUnserved = (state: ReleaseState | undefined, from: unknown): boolean =>
  state === "superseded" && from !== "live" && from !== "settling";

/** What happened and why, and then who and how long, for which there is room always. */
function describe({ data }: Message): string {
  const { message, reason, startedBy, actor, durationMs } = data;
  const after = durationMs === null || durationMs < 1_000 ? "" : `, after ${spell(wholeSeconds(durationMs))}`;
  const tail = ` (by ${cut(plain(startedBy ?? actor), 50)}${after})`;
  const words = plain(reason === null || message.includes(reason) ? message : `${message}: ${reason}`);
  return `${cut(words, DESCRIPTION - tail.length)}${tail}`;
}

const wholeSeconds = (ms: number): number => Math.round(ms / 1_000) * 1_000;

/** GitHub refuses descriptions with characters beyond U+FFFF. */
const plain = (text: string): string => oneLine(text.replace(/[\u{10000}-\u{10ffff}]|\p{Cs}/gu, ""));
