import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { CreateRelease } from "../../src/protocol/api/releases.ts";

const run = promisify(execFile);
type GitFacts = NonNullable<CreateRelease["git"]>;

/** Commit and its time, branch and repository of the working directory; undefined outside a repository or without git. */
export async function gitFacts(
  cwd: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<GitFacts | undefined> {
  const [sha, head, remote, time] = await Promise.all([
    git(cwd, "rev-parse", "HEAD"),
    git(cwd, "rev-parse", "--abbrev-ref", "HEAD"),
    git(cwd, "config", "--get", "remote.origin.url"),
    git(cwd, "show", "--no-patch", "--format=%cI", "HEAD"),
  ]);
  if (!sha) return undefined;
  // CI checks out a bare commit, and knows the branch only by its environment.
  const branch = head && head !== "HEAD" ? head : (env.GITHUB_REF_NAME ?? env.CI_COMMIT_REF_NAME);
  const url = remote ? webAddress(remote) : undefined;
  const job = runAddress(env);
  return {
    sha,
    ...(branch ? { branch: branch.slice(0, 255) } : {}),
    ...(url ? { url } : {}),
    ...(job ? { run: job } : {}),
    ...(time && !Number.isNaN(Date.parse(time)) ? { committedAt: new Date(time).toISOString() } : {}),
  };
}

/** Where the CI run that this is part of is seen, as each system says it; undefined: this is none that does. */
function runAddress(env: Readonly<Record<string, string | undefined>>): string | undefined {
  const { GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: repository, GITHUB_RUN_ID: id } = env;
  const ofGitHub = server && repository && id ? `${server}/${repository}/actions/runs/${id}` : undefined;
  const address = ofGitHub || env.CI_JOB_URL || env.BUILDKITE_BUILD_URL || env.CIRCLE_BUILD_URL;
  // What control would not take is left out: no release fails for its link.
  return address && address.length <= 500 && /^https?:\/\/[^\s<>|"'\\^`{}]+$/.test(address)
    ? address
    : undefined;
}

async function git(cwd: string, ...args: string[]): Promise<string | undefined> {
  try {
    const { stdout } = await run("git", args, { cwd, timeout: 2_000 });
    return stdout.trim() || undefined;
  } catch {
    return undefined; // No git, no repository, no commit, no remote: the release just has no such fact.
  }
}

/** A remote as people open it; never with the credentials CI puts into it. */
export function webAddress(remote: string): string | undefined {
  const ssh = /^(?:ssh:\/\/)?[\w.-]+@([\w.-]+)(?::\d+\/|[:/])(.+?)(?:\.git)?$/.exec(remote);
  if (ssh) return `https://${ssh[1]}/${ssh[2]}`;
  if (!URL.canParse(remote)) return undefined;
  const { protocol, host, pathname } = new URL(remote);
  return /^https?:$/.test(protocol) ? `https://${host}${pathname.replace(/\.git$/, "")}` : undefined;
}
