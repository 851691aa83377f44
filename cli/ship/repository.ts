import { Interrupted } from "../io/problem.ts";
import { runTool, type ToolOptions } from "./tool.ts";

/** What git says of the manifest's folder. */
export interface Repository {
  readonly sha: string;
  /** Undefined: a bare commit is checked out, and the CI system names no branch. */
  readonly branch: string | undefined;
  /** Changed, added and deleted paths, and submodules that aren't what the commit says; none: clean. */
  readonly changed: readonly string[];
  readonly isShallow: boolean;
}

export type Git = (...args: string[]) => Promise<{ code: number | null; stdout: string; missing: boolean }>;

/** git in a folder: never asks anybody for a password, never waits for long. */
export function gitIn(options: ToolOptions): Git {
  // A question on the terminal is a job that hangs.
  const env = { ...options.env, GIT_TERMINAL_PROMPT: "0", GIT_OPTIONAL_LOCKS: "0", LC_ALL: "C" };
  return async (...args) => {
    const signal = AbortSignal.any([options.signal, AbortSignal.timeout(WITHIN_MS)]);
    try {
      return await runTool(["git", ...args], { ...options, env, signal });
    } catch (error) {
      if (error instanceof Interrupted && !options.signal.aborted)
        return { code: null, stdout: "", missing: false };
      throw error;
    }
  };
}
const WITHIN_MS = 30_000;

/** Undefined with the reason in words: no git, no repository, no commit. */
export async function readRepository(
  git: Git,
  env: ToolOptions["env"],
): Promise<{ repository: Repository } | { problem: string }> {
  const head = await git("rev-parse", "--verify", "HEAD");
  if (head.missing) return { problem: "git is not installed" };
  if (head.code !== 0) {
    const inside = await git("rev-parse", "--is-inside-work-tree");
    return { problem: inside.code === 0 ? "the repository has no commit yet" : "this is no git repository" };
  }
  const [symbolic, status, submodules, shallow] = await Promise.all([
    git("symbolic-ref", "--quiet", "--short", "HEAD"),
    git("status", "--porcelain=v1", "-z", "--untracked-files=normal", "--ignore-submodules=none"),
    git("submodule", "status", "--recursive"),
    git("rev-parse", "--is-shallow-repository"),
  ]);
  for (const [what, { code }] of [
    ["git status", status],
    ["git submodule status", submodules],
  ] as const)
    if (code !== 0)
      return { problem: `${what} ${code === null ? "gave no answer within 30 s" : `ended with ${code}`}` };
  const checkedOut = symbolic.code === 0 ? symbolic.stdout.trim() : undefined;
  return {
    repository: {
      sha: head.stdout.trim(),
      branch: checkedOut || branchOfJob(env),
      changed: [...changedIn(status.stdout), ...submodulesOff(submodules.stdout)],
      isShallow: shallow.stdout.trim() === "true",
    },
  };
}

/** `XY path`, ended by NUL; after a rename or copy comes its old path. */
function changedIn(porcelain: string): string[] {
  const parts = porcelain.split("\0").filter((part) => part !== "");
  const changed: string[] = [];
  for (let at = 0; at < parts.length; at++) {
    const entry = parts[at] ?? "";
    changed.push(entry.slice(3));
    if (/^[RC]/.test(entry)) at += 1;
  }
  return changed;
}

/** `-`: not checked out, so that the build would lack it; `U`: in conflict. One at another commit is in the status already. */
const submodulesOff = (status: string): string[] =>
  status
    .split("\n")
    .filter((line) => /^[-U]/.test(line))
    .map(
      (line) =>
        `${line.slice(1).trim().split(" ")[1] ?? "a submodule"} (a submodule that is not checked out)`,
    );

/** A job checks out a bare commit, and says by a variable which branch it is of. A pull request's merge is of none. */
function branchOfJob(env: ToolOptions["env"]): string | undefined {
  if (env.GITHUB_REF_TYPE !== undefined)
    return env.GITHUB_REF_TYPE === "branch" && !/^\d+\/merge$/.test(env.GITHUB_REF_NAME ?? "")
      ? env.GITHUB_REF_NAME
      : undefined;
  if (env.BUILDKITE) return env.BUILDKITE_PULL_REQUEST === "false" ? env.BUILDKITE_BRANCH : undefined;
  return env.CI_COMMIT_BRANCH || env.CIRCLE_BRANCH || undefined;
}
