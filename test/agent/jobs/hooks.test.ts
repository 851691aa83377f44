import { mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type AgentBench, agentBench } from "../running-agent.ts";
import { runOf } from "../specs.ts";

let bench: AgentBench;

beforeEach(async () => {
  bench = await agentBench();
});
afterEach(async () => {
  const { invalid } = bench.control;
  await release();
  await bench.close();
  expect(invalid).toEqual([]);
});

const trace = () => path.join(bench.directory, "trace");
/** Lets the hooks of {@link waits} go on. */
const release = () => writeFile(path.join(bench.directory, "go"), "");
/** How often a hook began. */
const begun = async () => (await readFile(trace(), "utf8").catch(() => "")).split("\n").length - 1;
const hasBegun = () => expect.poll(begun).toBe(1);

/** A hook that leaves a line each time it begins, and ends when it is let go. */
const waits = () =>
  `echo one >> ${trace()}; echo begins; until [ -e ${bench.directory}/go ]; do sleep 0.05; done; echo ends`;

function give(script: string, over: Record<string, unknown> = {}): string {
  const spec = runOf({ run: "run-1", image: "file:app", command: ["sh", "-c", script] });
  return bench.control.give({ id: "job-1", kind: "run", ...spec, ...over });
}
const found = () => bench.runtime.runs.find("run-1");
const isCleared = () => expect.poll(found).toEqual({ ok: true, value: "none" });

describe("a hook", () => {
  test("answers with its last lines when it ended well, and is cleared away", async () => {
    give('echo "migrating $OWN"; for n in $(seq 60); do echo "row $n"; done', { env: { OWN: "shop" } });
    const result = await bench.control.result("job-1");
    expect(result).toMatchObject({ ok: true, result: { logs: { length: 50, 49: "row 60" } } });
    await isCleared();
  });

  test("fails with its exit code and its last lines", async () => {
    give("echo no table; exit 4");
    expect(await bench.control.result("job-1")).toMatchObject({
      ok: false,
      error: {
        code: "hook_failed",
        exitCode: 4,
        logs: ["no table"],
        message: "the expand hook (sh -c echo no table; exit 4) of hello v1 exited with code 4",
      },
    });
    await isCleared();
  });

  test("names a command that is not found", async () => {
    give("", { command: ["no-such-program"] });
    const result = await bench.control.result("job-1");
    expect(result).toMatchObject({ ok: false, error: { code: "hook_failed", exitCode: 127 } });
    expect(JSON.stringify(result)).toContain("no-such-program was not found in its image");
  });

  test("is not begun while the disk is full: after a crash nobody would know that it was", async () => {
    const temporary = path.join(bench.directory, `journal.json.${process.pid}.tmp`);
    await symlink("/dev/full", temporary);
    give("true");
    const result = await bench.control.result("job-1");
    await rm(temporary);
    expect(result).toMatchObject({
      ok: false,
      error: { code: "disk_full", message: expect.stringContaining(bench.directory) },
    });
    expect(await found()).toEqual({ ok: true, value: "none" });
  });

  test("is not begun in an image that is missing, and says so", async () => {
    give("true", { image: "file:no-such-app" });
    expect(await bench.control.result("job-1")).toMatchObject({
      ok: false,
      error: { code: "image_not_found" },
    });
  });

  test("is ended when it hangs, before control stops listening, and says for how long it hung", async () => {
    const deadlineAt = Date.now() + 6_000;
    give("echo begins; exec sleep 60", { deadlineAt });
    const result = await bench.control.result("job-1");
    expect(Date.now()).toBeLessThan(deadlineAt);
    expect(result).toMatchObject({ ok: false, error: { code: "hook_failed", logs: { 0: "begins" } } });
    expect(JSON.stringify(result)).toMatch(/hung: it had not ended after \d+ s; it was ended by SIGTERM/);
    await isCleared();
  });

  test("is ended when it hangs and nobody asks for it any more", async () => {
    give(waits(), { deadlineAt: Date.now() + 2_500 });
    await hasBegun();
    await bench.restart();
    await expect
      .poll(async () =>
        JSON.stringify(JSON.parse(await readFile(path.join(bench.directory, "journal.json"), "utf8")).runs),
      )
      .toContain("hung");
    expect(await bench.runtime.runs.waitExit("run-1", AbortSignal.timeout(60_000))).toBeDefined();
    give(waits());
    expect(await bench.control.result("job-1")).toMatchObject({ ok: false, error: { code: "hook_failed" } });
    expect(await begun()).toBe(1);
  });

  test("passes its lines on as they come, at most one a second", async () => {
    give("for n in $(seq 30); do echo row $n; sleep 0.1; done");
    await bench.control.result("job-1");
    const { progress } = bench.control;
    expect(progress.filter(({ message }) => /^row \d+$/.test(message)).length).toBeGreaterThan(0);
    expect(progress.length).toBeLessThanOrEqual(4);
  });

  test("keeps its lease while it says nothing for long", async () => {
    bench.control.leaseMs = 1_500;
    give(waits());
    await bench.control.until(() => bench.control.progress.length >= 3, "renewed");
    await release();
    expect(await bench.control.result("job-1")).toMatchObject({ ok: true });
    expect(new Set(bench.control.progress.map(({ message }) => message)).size).toBeLessThanOrEqual(2);
  });
});

describe("a hook never runs twice", () => {
  test("is in the journal, on disk, before it begins", async () => {
    const journal = path.join(bench.directory, "journal.json");
    give(`cat ${journal}`);
    const result = await bench.control.result("job-1");
    if (!result.ok) throw new Error(result.error.message);
    expect(result.result.logs?.join("")).toContain('"run-1"');
  });

  test("is not begun when the journal can't be written", async () => {
    await bench.control.until(() => bench.control.polls.length > 0, "polls");
    const inTheWay = path.join(bench.directory, `journal.json.${process.pid}.tmp`);
    await mkdir(inTheWay);
    give(waits());
    const result = await bench.control.result("job-1");
    expect(result).toMatchObject({ ok: false, error: { code: "internal" } });
    expect(JSON.stringify(result)).toContain("was not begun: the agent can't write its journal");
    expect(await begun()).toBe(0);
    await rm(inTheWay, { recursive: true });
    give(waits(), { id: "job-2" });
    await hasBegun();
  });

  test("is joined when it is handed out again while it runs, under the same job or another", async () => {
    give(waits());
    await hasBegun();
    const lease = give(waits());
    give(waits(), { id: "job-2" });
    await bench.control.until(() => bench.control.progress.some(({ id }) => id === "job-2"), "job-2 runs");
    await release();
    expect(await bench.control.result("job-1")).toMatchObject({ ok: true, lease });
    expect(await bench.control.result("job-2")).toMatchObject({
      ok: true,
      result: { logs: ["begins", "ends"] },
    });
    expect(await begun()).toBe(1);
  });

  test("answers as before when it is handed out again after it was acknowledged", async () => {
    await release();
    give(`${waits()}; exit 5`);
    await bench.control.result("job-1");
    await isCleared();
    give(waits());
    await bench.control.until(() => bench.control.done.length === 2, "answered again");
    expect(bench.control.done[1]?.done).toMatchObject({ error: { code: "hook_failed", exitCode: 5 } });
    expect(await begun()).toBe(1);
  });

  test("answers as before while its remains are still being cleared away", async () => {
    const { promise: cleared, resolve: clear } = Promise.withResolvers<void>();
    const { runs } = bench.runtime;
    const { remove } = runs;
    runs.remove = async (run) => {
      await cleared;
      return remove(run);
    };
    give("exit 5");
    await bench.control.result("job-1");
    give("exit 5");
    await bench.control.until(() => bench.control.done.length === 2, "answered again");
    clear();
    await isCleared();
  });

  test("answers the same again when the acknowledgement was lost", async () => {
    await release();
    bench.control.failNext("done", "lost-answer");
    give(waits());
    await bench.control.until(() => bench.control.done.length === 2, "sent twice");
    expect(bench.control.done[1]).toEqual(bench.control.done[0]);
    expect(await begun()).toBe(1);
    await isCleared();
  });

  test("answers with all of it when the lease was lost meanwhile and the job comes back", async () => {
    bench.control.leaseMs = 3_000;
    bench.control.failNext("progress", { status: 409, code: "lease_lost" });
    give(waits());
    await hasBegun();
    await bench.control.until(() => bench.control.progress.length > 0, "refused once, and asked again");
    await release();
    await bench.control.until(() => bench.lines.some((line) => line.includes("lease lost")), "dropped");
    await isCleared();
    bench.control.leaseMs = 60_000;
    give(waits());
    expect(await bench.control.result("job-1")).toMatchObject({
      ok: true,
      result: { logs: ["begins", "ends"] },
    });
    expect(await begun()).toBe(1);
  });

  test("is followed on by the next agent, which answers how it ended", async () => {
    give(waits());
    await hasBegun();
    await bench.restart();
    give(waits());
    await release();
    expect(await bench.control.result("job-1")).toMatchObject({
      ok: true,
      result: { logs: ["begins", "ends"] },
    });
    expect(await begun()).toBe(1);
    await isCleared();
  });

  test("is told from what is left of it when it ended while no agent was there", async () => {
    give(`${waits()}; exit 6`);
    await hasBegun();
    await bench.stop();
    await release();
    await bench.runtime.runs.waitExit("run-1", AbortSignal.timeout(60_000));
    bench.start();
    give(waits());
    expect(await bench.control.result("job-1")).toMatchObject({
      ok: false,
      error: { code: "hook_failed", exitCode: 6 },
    });
    expect(await begun()).toBe(1);
  });

  test("is reported as interrupted, with what to look at, when nothing of it is left", async () => {
    give(waits());
    await hasBegun();
    await bench.stop();
    await bench.runtime.runs.stop("run-1", 0);
    await bench.runtime.runs.remove("run-1");
    bench.start();
    give(waits());
    const result = await bench.control.result("job-1");
    expect(result).toMatchObject({ ok: false, error: { code: "hook_interrupted" } });
    expect(JSON.stringify(result)).toMatch(/nothing is left of it.*table of migrations.*deploy again/);
    expect(await begun()).toBe(1);
  });

  test("is found again by an agent whose journal was lost", async () => {
    give(waits());
    await hasBegun();
    await bench.stop();
    await rm(path.join(bench.directory, "journal.json"));
    bench.start();
    give(waits());
    await bench.control.until(
      () => bench.lines.some((line) => line.includes("journal doesn't know")),
      "found",
    );
    await release();
    expect(await bench.control.result("job-1")).toMatchObject({ ok: true });
    expect(await begun()).toBe(1);
  });
});
