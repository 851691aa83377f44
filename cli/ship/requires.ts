import type { Requires } from "../../src/protocol/manifest/build.ts";
import { webAddress } from "../io/git.ts";
import { clean, plural, quote } from "../io/print.ts";
import { CliError } from "../io/problem.ts";
import { type Git, gitIn, type Repository, readRepository } from "./repository.ts";
import { type Command, runTool, type ToolOptions } from "./tool.ts";

/** One thing that `requires` asks for and that is not so. `key`: which of its keys asks. */
export interface Unmet {
  readonly key: keyof Requires;
  readonly detail: string;
}

/** What git can answer of `requires`, all at once. Runs nothing of the app's. */
export async function unmetByGit(
  requires: Requires,
  options: ToolOptions,
): Promise<{ unmet: Unmet[]; repository: Repository | undefined; notes: string[] }> {
  const git = gitIn(options);
  const found = await readRepository(git, options.env);
  const asked = (["branch", "cleanTree", "upToDate"] as const).filter((key) => requires[key]);
  if ("problem" in found) {
    const unmet = asked.map((key) => ({ key, detail: `\`${key}\` can't be looked at: ${found.problem}` }));
    return { unmet, repository: undefined, notes: [] };
  }
  const { repository } = found;
  const answers = [
    branchUnmet(requires, repository),
    treeUnmet(requires, repository),
    requires.upToDate ? await remoteUnmet(git, repository) : undefined,
  ];
  const short = repository.sha.slice(0, 12);
  const notes = [
    `${repository.branch === undefined ? "" : `${clean(repository.branch)} at `}${short}${repository.changed.length > 0 ? ", with changes" : ""}`,
  ];
  return { unmet: answers.filter((one) => one !== undefined), repository, notes };
}

function branchUnmet({ branch: wanted }: Requires, { branch }: Repository): Unmet | undefined {
  if (wanted === undefined) return undefined;
  const names = typeof wanted === "string" ? [wanted] : wanted;
  if (branch !== undefined && names.some((name) => matches(name, branch))) return undefined;
  const is =
    branch === undefined
      ? "a bare commit is checked out, of no branch"
      : `\`${clean(branch)}\` is checked out`;
  return { key: "branch", detail: `${is}, wanted ${names.map((name) => `\`${clean(name)}\``).join(" or ")}` };
}

/** `*` is any text; all else is itself. */
function matches(pattern: string, branch: string): boolean {
  const parts = pattern.split("*").map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`, "su").test(branch);
}

const SHOWN = 5;
function treeUnmet({ cleanTree }: Requires, { changed }: Repository): Unmet | undefined {
  if (!cleanTree || changed.length === 0) return undefined;
  const more = changed.length > SHOWN ? `, and ${changed.length - SHOWN} more` : "";
  const detail = `${plural(changed.length, "path")} not as committed: ${changed.slice(0, SHOWN).map(clean).join(", ")}${more}`;
  return { key: "cleanTree", detail };
}

/** Asks the remote, and fetches nothing: a look changes no repository. */
async function remoteUnmet(git: Git, { branch, sha, isShallow }: Repository): Promise<Unmet | undefined> {
  const unmet = (detail: string): Unmet => ({ key: "upToDate", detail });
  if (branch === undefined)
    return unmet("a bare commit is checked out: there is no branch to compare with its remote");
  const [named, merge] = await Promise.all([
    git("config", "--get", `branch.${branch}.remote`),
    git("config", "--get", `branch.${branch}.merge`),
  ]);
  const remote = named.stdout.trim() || "origin";
  const shown = shownRemote(remote);
  const ref = merge.stdout.trim() || `refs/heads/${branch}`;
  const asked = await git("ls-remote", "--", remote, ref);
  if (asked.code !== 0) return unmet(`the remote \`${shown}\` gave no answer: ${lastLine(asked)}`);
  const tip = asked.stdout
    .split("\n")
    .find((line) => line.endsWith(`\t${ref}`))
    ?.split("\t")[0];
  if (tip === undefined) return unmet(`\`${clean(branch)}\` is not on \`${shown}\`: push it`);
  if (tip === sha) return undefined;
  return unmet(
    `${await relation(git, { sha, tip, isShallow })}; \`${clean(branch)}\` of \`${shown}\` is at ${tip.slice(0, 12)}`,
  );
}

/** A remote may be an address, with a password in it. */
const shownRemote = (remote: string): string =>
  clean(webAddress(remote) ?? (URL.canParse(remote) ? "its address" : remote));

const lastLine = ({ code }: { code: number | null }) =>
  code === null ? "nothing within 30 s" : `git ended with ${code}`;

async function relation(
  git: Git,
  { sha, tip, isShallow }: { sha: string; tip: string; isShallow: boolean },
): Promise<string> {
  const [ours, theirs] = await Promise.all([
    git("merge-base", "--is-ancestor", tip, sha),
    git("merge-base", "--is-ancestor", sha, tip),
  ]);
  if (ours.code === 0) return "this commit is not pushed";
  if (theirs.code === 0 || (ours.code !== 1 && !isShallow)) return "the remote is ahead: pull";
  if (isShallow) return "this shallow clone has another commit (ahead or behind, it can't tell)";
  return "this commit and the remote's have parted";
}

/** Runs the app's own tests. Throws CliError with their last lines. */
export async function runTests(command: Command, options: ToolOptions): Promise<void> {
  const ended = await runTool(command, options);
  if (ended.code === 0) return;
  const said = command.map(quote).join(" ");
  const why = ended.missing
    ? "there is no such program, or it may not be run"
    : `it ended with ${ended.code ?? "a signal"}`;
  throw new ToolFailed("requirement_unmet", `\`${clean(said)}\`: ${why}`, { tail: ended.tail });
}

/** A command that failed, with the last that it said. */
export class ToolFailed extends CliError {
  readonly tail: readonly string[];

  constructor(
    code: ConstructorParameters<typeof CliError>[0],
    detail: string,
    { tail, ...more }: { tail: readonly string[] } & ConstructorParameters<typeof CliError>[2],
  ) {
    super(code, detail, more);
    this.tail = tail;
  }
}
