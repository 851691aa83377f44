import { strictEqual } from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Resident } from "./resident.ts";

/** Beyond git's `http.postBuffer`: sent in chunks, its length not declared. */
const FILE_BYTES = 3_000_000;
const AS = ["-c", "user.name=visitor", "-c", "user.email=visitor@example.com", "-c", "commit.gpgsign=false"];

async function git(cwd: string, ...args: string[]): Promise<string> {
  const env = { ...process.env, GIT_TERMINAL_PROMPT: "0", GIT_CONFIG_GLOBAL: "/dev/null" };
  const { stdout } = await promisify(execFile)("git", [...AS, ...args], { cwd, env, timeout: 60_000 });
  return stdout.trim();
}

/** git's own server program: clone, push a file of megabytes to a branch, see that it is there, fetch it elsewhere. */
export const gitServer: Resident = {
  name: "git",
  programs: { git: "/usr/bin/git", "nginx-light": "/usr/sbin/nginx", fcgiwrap: "/usr/sbin/fcgiwrap" },
  options: { command: ["sh", "start.sh"] },
  async prepare(data) {
    await git(data, "init", "--quiet", "--bare", "--initial-branch=main", "repository.git");
    const bare = join(data, "repository.git");
    await git(bare, "config", "http.receivepack", "true");
    const tree = await git(bare, "write-tree");
    await git(bare, "update-ref", "refs/heads/main", await git(bare, "commit-tree", tree, "-m", "begin"));
  },
  async visit(visitor) {
    const folder = await mkdtemp(join(tmpdir(), "sluice-zoo-git-"));
    const work = join(folder, "work");
    const url = `${visitor.origin}/repository.git`;
    const branch = `visit-${randomUUID()}`;
    try {
      await visitor.step("clones", () => git(folder, "clone", "--quiet", "--single-branch", url, "work"));
      await writeFile(join(work, branch), randomBytes(FILE_BYTES));
      await git(work, "switch", "--quiet", "--create", branch);
      await git(work, "add", ".");
      await git(work, "commit", "--quiet", "--message", branch);
      const head = await git(work, "rev-parse", "HEAD");
      await visitor.step("pushes", () => git(work, "push", "--quiet", "origin", branch));
      await visitor.step("sees its branch", async () => {
        strictEqual((await git(folder, "ls-remote", url, branch)).split("\t")[0], head);
      });
      await visitor.step("fetches it elsewhere", async () => {
        await git(folder, "clone", "--quiet", "--single-branch", "--branch", branch, url, "again");
        strictEqual(await git(join(folder, "again"), "rev-parse", "HEAD"), head);
      });
      await visitor.step("deletes its branch", () =>
        git(work, "push", "--quiet", "--delete", "origin", branch),
      );
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};
