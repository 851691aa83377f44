import { readFileSync } from "node:fs";
import { z } from "zod";
import { pullNumberSchema } from "../../src/protocol/api/previews/pulls.ts";

/** The pull request that a CI job runs for, as far as its environment says. */
export interface PullRequest {
  readonly number: number;
  /** Number of the run, which rises. */
  readonly run?: number;
  readonly url?: string;
  /** The commit that was pushed: what is checked out may be a merge of it. */
  readonly sha?: string;
  readonly branch?: string;
  readonly fork: boolean;
}
type Env = Readonly<Record<string, string | undefined>>;

/** Of what GitHub and Forgejo write to the job's event file. A fork that was deleted has no `repo`. */
const eventSchema = z.object({
  pull_request: z.object({
    number: z.number(),
    html_url: z.string().optional(),
    head: z.object({
      sha: z.string().optional(),
      ref: z.string().optional(),
      repo: z.object({ id: z.number() }).nullish(),
    }),
    base: z.object({ repo: z.object({ id: z.number() }).nullish() }),
  }),
});

/** Undefined: this is no pull request's job, or no job at all. */
export function pullRequestIn(env: Env): PullRequest | undefined {
  return fromEvent(env) ?? fromVariables(env);
}

function fromEvent(env: Env): PullRequest | undefined {
  const file = env.GITHUB_EVENT_PATH;
  const parsed = eventSchema.safeParse(file === undefined ? undefined : readJson(file));
  if (!parsed.success) return undefined;
  const { number, html_url: url, head, base } = parsed.data.pull_request;
  const run = Number(env.GITHUB_RUN_ID ?? Number.NaN);
  return {
    number,
    fork: head.repo?.id === undefined || head.repo.id !== base.repo?.id,
    ...(url === undefined ? {} : { url }),
    ...(head.sha === undefined ? {} : { sha: head.sha }),
    ...(head.ref === undefined ? {} : { branch: head.ref.slice(0, 255) }),
    ...(Number.isSafeInteger(run) ? { run } : {}),
  };
}

/** GitLab, Buildkite and CircleCI: number, source and target project, run. Buildkite says `false` where there is none. */
function fromVariables(env: Env): PullRequest | undefined {
  const circle = /\/pull\/(\d+)$/.exec(env.CIRCLE_PULL_REQUEST ?? "")?.[1];
  const number = pullNumberSchema.safeParse(
    env.CI_MERGE_REQUEST_IID ?? env.BUILDKITE_PULL_REQUEST ?? circle ?? "",
  );
  if (!number.success) return undefined;
  const run = Number(env.CI_PIPELINE_ID ?? env.BUILDKITE_BUILD_NUMBER ?? env.CIRCLE_BUILD_NUM ?? Number.NaN);
  const { CI_MERGE_REQUEST_SOURCE_PROJECT_ID: source, CI_MERGE_REQUEST_PROJECT_ID: target } = env;
  const [theirs, own] = [env.BUILDKITE_PULL_REQUEST_REPO, env.BUILDKITE_REPO].map(repositoryOf);
  return {
    number: Number(number.data),
    fork:
      source !== target || (theirs !== undefined && theirs !== own) || env.CIRCLE_PR_REPONAME !== undefined,
    ...(Number.isSafeInteger(run) ? { run } : {}),
  };
}

/** Two addresses of one repository, one over SSH, are the same. */
const repositoryOf = (url: string | undefined): string | undefined =>
  url
    ?.replace(/^\w+:\/\//, "")
    .replace(/^[^@/]+@/, "")
    .replace(":", "/")
    .replace(/\.git$/, "")
    .toLowerCase() || undefined;

function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return undefined; // Then the number has to be named.
  }
}
