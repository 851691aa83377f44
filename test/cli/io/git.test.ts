import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { gitFacts } from "../../../cli/io/git.ts";

const folder = mkdtempSync(join(tmpdir(), "sluice-git-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("a commit's time is told in UTC, however it was written: lead times begin with it", async () => {
  const git = (...args: string[]) =>
    execFileSync("git", ["-c", "user.name=a", "-c", "user.email=a@example.com", ...args], {
      cwd: folder,
      env: { ...process.env, GIT_COMMITTER_DATE: "2026-11-28T22:00:00+02:00" },
    });
  git("init", "-q", "-b", "main");
  expect(await gitFacts(folder, {})).toBeUndefined();
  git("commit", "-q", "--allow-empty", "-m", "one");
  expect(await gitFacts(folder, {})).toMatchObject({
    branch: "main",
    committedAt: "2026-11-28T20:00:00.000Z",
  });
});

test.each([
  [
    { GITHUB_SERVER_URL: "https://github.com", GITHUB_REPOSITORY: "acme/shop", GITHUB_RUN_ID: "91" },
    "https://github.com/acme/shop/actions/runs/91",
  ],
  [{ CI_JOB_URL: "https://gitlab.com/acme/shop/-/jobs/7" }, "https://gitlab.com/acme/shop/-/jobs/7"],
  [{ BUILDKITE_BUILD_URL: "https://ci.example/ a|b" }, undefined],
  [{ GITHUB_SERVER_URL: "https://github.com", GITHUB_RUN_ID: "91" }, undefined],
])("the CI run is told where a system says it, and no other text: %o", async (env, run) => {
  expect((await gitFacts(import.meta.dirname, env))?.run).toBe(run);
});
