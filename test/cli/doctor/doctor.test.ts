import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { fakeApi, type Route } from "../../support/cli/fake-api.ts";
import { callCli } from "../../support/cli/run-cli.ts";

const check = (subject: string, status: string, detail: string, fix: string | null = null) => ({
  id: `${subject}.x`,
  subject,
  status,
  detail,
  fix,
});

const examined =
  (checks: unknown[], over: Record<string, unknown> = {}): Route =>
  (_asked, answer) =>
    answer.json(200, {
      now: new Date().toISOString(),
      version: "dev",
      actor: "token:me",
      role: "admin",
      checks,
      ...over,
    });

const run = async (args: readonly string[], route: Route) => {
  await using api = await fakeApi({ "GET /api/v1/doctor": route });
  return await callCli(["doctor", ...args], { url: api.url });
};

describe.concurrent("doctor", () => {
  test("says in one line per part that all is well, and ends with 0", async () => {
    const { code, stdout } = await run([], examined([check("web-1", "ok", "agent heard 4 s ago")]));
    expect(code).toBe(0);
    expect(stdout).toContain("web-1  1 check fine\n");
    expect(stdout).toContain("all is well (4 checks)");
  });

  test("shows every trouble with its mend, not only the first, and ends with 1", async () => {
    const { code, stdout } = await run(
      [],
      examined([
        check("control", "warn", "no host is enrolled", "sluice hosts enroll <name>"),
        check("web-1", "fail", "0.4 GB free", "docker system df"),
        check("web-2", "fail", "its agent was never heard from", "systemctl status sluice-agent"),
      ]),
    );
    expect(code).toBe(1);
    expect(stdout).toContain("! no host is enrolled\n      mend: sluice hosts enroll <name>");
    expect(stdout).toContain("✗ 0.4 GB free\n      mend: docker system df");
    expect(stdout).toContain("✗ its agent was never heard from");
    expect(stdout).toContain("2 things wrong, 1 warning");
  });

  test("says of a part of which nothing applies that it is so, and not that nothing is fine", async () => {
    const { stdout } = await run([], examined([check("hello.localhost", "skip", "it is local")]));
    expect(stdout).toContain("hello.localhost  nothing to check (--all says why)\n");
  });

  test("shows with --all what is fine and what does not apply", async () => {
    const checks = [check("web-1", "ok", "6 of 8 slots free"), check("web-1", "skip", "without a tunnel")];
    const { stdout } = await run(["--all"], examined(checks));
    expect(stdout).toContain("  ✓ 6 of 8 slots free\n  - without a tunnel");
    expect(stdout).toContain("you are token:me, admin");
  });

  test("compares this machine's clock and version with control's", async () => {
    const now = new Date(Date.now() - 60_000).toISOString();
    const { code, stdout } = await run([], examined([], { now, version: "99.0.0" }));
    expect(code).toBe(0);
    expect(stdout).toMatch(/! clock \+6\d\.\d s against control/);
    expect(stdout).toMatch(/! control 99\.0\.0 at .*; this CLI is \d+\.\d+\.\d+/);
  });

  test("finds nothing in the build that setup marks its control with", async () => {
    const { version } = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8"));
    const { stdout } = await run(["--all"], examined([], { version: `${version}+b0b99696b823` }));
    expect(stdout).toMatch(/✓ control .*\+b0b99696b823 at /);
  });

  test("as JSON is one object with every check", async () => {
    const { stdout } = await run(["--json"], examined([check("web-1", "fail", "x", "y")]));
    const result = JSON.parse(stdout) as { ok: boolean; checks: { subject: string }[] };
    expect(result.ok).toBe(false);
    expect(result.checks.map(({ subject }) => subject)).toEqual(["here", "here", "here", "web-1"]);
  });
});
