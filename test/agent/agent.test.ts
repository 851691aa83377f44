import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { failed } from "../../agent/outcome.ts";
import { AGENT_VERSION } from "../../agent/version.ts";
import { freePort } from "../support/engine/docker.ts";
import { TIMED } from "../support/patience.ts";
import { type apps, nodeCommand } from "./apps.ts";
import { type AgentBench, agentBench } from "./running-agent.ts";
import { answerOf } from "./runtime/runtime.contract.ts";
import { healthOf, specOf } from "./specs.ts";

let bench: AgentBench;
let jobs = 0;

beforeEach(async () => {
  bench = await agentBench();
});
afterEach(async () => {
  const { invalid } = bench.control;
  await bench.close();
  expect(invalid).toEqual([]);
});

async function specFor(app: keyof typeof apps, over: Partial<Parameters<typeof specOf>[0]> = {}) {
  const instance = `ins-${++jobs}`;
  return specOf({
    instance,
    image: "file:app",
    hostPort: await freePort(),
    command: nodeCommand(app),
    ...over,
  });
}

/** Starts an instance and answers its spec and the app's pid. */
async function running(app: "mortal" | "sickly" | "moody" | "good", over = {}) {
  const spec = await specFor(app, over);
  bench.control.give({ id: `start-${spec.instance}`, kind: "start", spec });
  const result = await bench.control.result(`start-${spec.instance}`);
  expect(result).toMatchObject({ ok: true });
  return spec;
}

const statesOf = (instance: string) =>
  bench.control.reports.filter((one) => one.instance === instance).map(({ state }) => state);
const isReported = (instance: string, states: string[]) => () =>
  JSON.stringify(statesOf(instance)) === JSON.stringify(states);

async function runtimeIdOf(instance: string) {
  const listed = await bench.runtime.list();
  return listed.ok ? listed.value.find((found) => found.instance === instance)?.runtimeId : undefined;
}

test("says who it is with each request and on the wake-up socket", async () => {
  await bench.control.until(() => bench.control.socketTokens.length > 0, "the socket is open");
  expect([...bench.control.userAgents]).toEqual([`sluice-agent/${AGENT_VERSION}`]);
});

describe("jobs", () => {
  test("does a job once, however often it is handed over, and reports under the newest lease", async () => {
    const spec = await specFor("moody");
    const job = { id: "job-twice", kind: "start", spec } as const;
    bench.control.give(job);
    bench.control.give(job);
    const lease = bench.control.give(job);
    expect(await bench.control.result("job-twice")).toMatchObject({ ok: true, lease });
    expect(bench.control.done).toHaveLength(1);
  });

  test("reports a running instance as it is when its start is handed out again under another id", async () => {
    const spec = await running("mortal");
    const pid = await answerOf(spec);
    bench.control.give({ id: "job-again", kind: "start", spec });
    expect(await bench.control.result("job-again")).toMatchObject({ ok: true });
    expect(await answerOf(spec)).toBe(pid);
  });

  test("sends a result again when its acknowledgement was lost", async () => {
    bench.control.failNext("done", "lost-answer");
    bench.control.give({ id: "job-lost", kind: "pull", image: "file:app" });
    await bench.control.until(() => bench.control.done.length === 2, "sent twice");
    expect(bench.control.done[1]).toEqual(bench.control.done[0]);
  });

  test("delivers after a restart what the earlier agent could not report", async () => {
    bench.control.failAlways("done", { status: 503, code: "unavailable" });
    const spec = await specFor("good");
    bench.control.give({ id: "job-kept", kind: "start", spec });
    await bench.control.until(isReported(spec.instance, ["ready"]), "ready");
    await bench.stop();
    bench.control.failAlways("done", undefined);
    bench.start();
    expect(await bench.control.result("job-kept")).toMatchObject({ ok: true });
  });

  test("refuses a job with a fence lower than one seen before, also after a restart", async () => {
    bench.control.give({ id: "job-new", kind: "pull", image: "file:app", fence: 7 });
    await bench.control.result("job-new");
    await bench.restart();
    const spec = await specFor("good");
    bench.control.give({ id: "job-old", kind: "start", spec, fence: 6 });
    const result = await bench.control.result("job-old");
    expect(result).toMatchObject({ ok: false, error: { code: "stale_fence" } });
    expect(JSON.stringify(result)).toMatch(/fence 6.*7/);
    expect(await runtimeIdOf(spec.instance)).toBeUndefined();
  });

  test("keeps fences of environments apart", async () => {
    bench.control.give({ id: "job-a", kind: "pull", image: "file:app", fence: 7, environmentId: "env-a" });
    bench.control.give({ id: "job-b", kind: "pull", image: "file:app", fence: 1, environmentId: "env-b" });
    expect(await bench.control.result("job-a")).toMatchObject({ ok: true });
    expect(await bench.control.result("job-b")).toMatchObject({ ok: true });
  });

  test("renews the lease while a job runs and says how far it is", async () => {
    bench.control.leaseMs = 1_500;
    const spec = await specFor("status", { health: healthOf({ deadlineMs: 1_500 }) });
    bench.control.give({ id: "job-slow", kind: "start", spec });
    await bench.control.result("job-slow");
    expect(bench.control.progress.map(({ message }) => message)).toContain("waiting until it is ready");
  });

  test("says with each poll which jobs it has, so that one whose answer was lost is given again", async () => {
    const spec = await specFor("status", { health: healthOf({ deadlineMs: 60_000 }) });
    const isListed = (jobs: string[]) => () =>
      JSON.stringify(bench.control.polls.at(-1)?.jobs) === JSON.stringify(jobs);
    await bench.control.until(isListed([]), "none yet");
    bench.control.give({ id: "job-held", kind: "start", spec });
    await answerOf(spec);
    bench.control.wake();
    await bench.control.until(isListed(["job-held"]), "listed");
    bench.control.give({ id: "job-stop", kind: "stop", instance: spec.instance, graceMs: 0 });
    await bench.control.result("job-held");
    await bench.control.until(isListed([]), "over");
  });

  test("starts and stops while eight slow pulls are under way", async () => {
    bench.runtime.pull = (_source, _progress, signal) =>
      new Promise((resolve) =>
        signal.addEventListener("abort", () => resolve(failed("image_pull_failed", "given up"))),
      );
    for (let n = 0; n < 8; n++) bench.control.give({ id: `pull-${n}`, kind: "pull", image: `file:app-${n}` });
    await bench.control.until(() => bench.control.polls.at(-1)?.jobs?.length === 8, "all taken");
    expect(bench.control.polls.at(-1)?.takes).toEqual(["stop", "command", "start"]);
    const spec = await running("good");
    bench.control.give({ id: "job-stop", kind: "stop", instance: spec.instance, graceMs: 0 });
    expect(await bench.control.result("job-stop")).toMatchObject({ ok: true });
  });

  test("drops the result of a job whose lease is lost", async () => {
    bench.control.leaseMs = 1_500;
    bench.control.failAlways("progress", { status: 409, code: "lease_lost" });
    const spec = await specFor("status", { health: healthOf({ deadlineMs: 1_200 }) });
    bench.control.give({ id: "job-gone", kind: "start", spec });
    await bench.control.until(() => bench.lines.some((line) => line.includes("lease lost")), "dropped");
    expect(bench.control.done).toEqual([]);
  });

  test("takes a job up again that it had lost, when it is handed out again", async () => {
    bench.control.leaseMs = 1_500;
    bench.control.failNext("progress", { status: 409, code: "lease_lost" });
    const spec = await specFor("status", { health: healthOf({ deadlineMs: 2_000 }) });
    const job = { id: "job-back", kind: "start", spec } as const;
    bench.control.give(job);
    await bench.control.until(
      () => bench.control.polls.some(({ instances }) => instances.length === 1),
      "begun",
    );
    const lease = bench.control.give(job);
    expect(await bench.control.result("job-back")).toMatchObject({ ok: false, lease });
  });

  test("stops an instance without taking its end for a crash, and forgets it", async () => {
    const spec = await running("good");
    bench.control.give({ id: "job-stop", kind: "stop", instance: spec.instance, graceMs: 2_000 });
    expect(await bench.control.result("job-stop")).toMatchObject({ ok: true, result: { killed: false } });
    expect(statesOf(spec.instance)).toEqual(["ready"]);
    bench.control.wake();
    await bench.control.until(() => bench.control.polls.at(-1)?.instances.length === 0, "forgotten");
  });

  test(
    "calls a start off at once when its instance is to be stopped, and frees its port",
    TIMED,
    async () => {
      const spec = await specFor("status", { health: healthOf({ deadlineMs: 60_000 }) });
      bench.control.give({ id: "job-start", kind: "start", spec });
      await answerOf(spec);
      const asked = Date.now();
      bench.control.give({ id: "job-stop", kind: "stop", instance: spec.instance, graceMs: 30_000 });
      expect(await bench.control.result("job-stop")).toMatchObject({ ok: true });
      const started = await bench.control.result("job-start");
      expect(Date.now() - asked).toBeLessThan(3_000);
      expect(started).toMatchObject({ ok: false, error: { code: "start_failed" } });
      expect(JSON.stringify(started)).toContain("called off");
      await running("good", { hostPort: spec.hostPort });
      expect(await runtimeIdOf(spec.instance)).toBeUndefined();
    },
  );

  test("starts nothing for a start that was called off while its image was fetched", async () => {
    const { promise: fetched, resolve: fetch } = Promise.withResolvers<void>();
    const { runtime } = bench;
    let starts = 0;
    await bench.close();
    bench = await agentBench({
      runtime: {
        ...runtime,
        start: async () => {
          starts += 1;
          return failed("image_not_found", "pruned");
        },
        pull: async () => {
          await fetched;
          return { ok: true, value: { image: "file:app", digest: "sha256:1" } };
        },
      },
    });
    const spec = await specFor("good");
    bench.control.give({ id: "job-start", kind: "start", spec });
    await bench.control.until(() => starts === 1, "asked for");
    bench.control.give({ id: "job-stop", kind: "stop", instance: spec.instance, graceMs: 0 });
    await bench.control.until(() => bench.lines.some((line) => line.includes("job stop begins")), "stopping");
    fetch();
    expect(await bench.control.result("job-stop")).toMatchObject({ ok: true });
    expect(await bench.control.result("job-start")).toMatchObject({
      ok: false,
      error: { code: "start_failed" },
    });
    expect(starts).toBe(1);
  });

  test("succeeds in stopping what is gone", async () => {
    bench.control.give({ id: "job-stop", kind: "stop", instance: "ins-gone", graceMs: 0 });
    expect(await bench.control.result("job-stop")).toMatchObject({ ok: true });
  });
});

describe("health", () => {
  test("reports each turn of readiness once and in order, with the cause", async () => {
    const spec = await running("moody");
    await answerOf(spec, "/off");
    await bench.control.until(isReported(spec.instance, ["ready", "unready"]), "unready");
    await answerOf(spec, "/on");
    await bench.control.until(isReported(spec.instance, ["ready", "unready", "ready"]), "ready again");
    const reports = bench.control.reports.filter((one) => one.instance === spec.instance);
    expect(reports.map(({ seq }) => seq)).toEqual([1, 2, 3]);
    expect(reports[1]?.cause).toMatch(/\/ready answered 503 .*ready: false, 2 times in a row/);
    expect(reports[0]?.cause).toBeUndefined();
  });

  test("restarts an instance that exits, and says so", async () => {
    const spec = await running("mortal");
    const pid = await answerOf(spec);
    await fetch(`http://127.0.0.1:${spec.hostPort}/die`).catch(() => {});
    await bench.control.until(
      isReported(spec.instance, ["ready", "exited", "starting", "ready"]),
      "restarted",
    );
    expect(bench.control.reports[1]?.cause).toBe("hello v1 exited with code 7; restart 1 in 1 s");
    expect(await answerOf(spec)).not.toBe(pid);
  });

  test("restarts an instance whose liveness check fails", async () => {
    const spec = await running("sickly", { health: healthOf({ liveness: true }) });
    const pid = await answerOf(spec);
    await answerOf(spec, "/sicken");
    await bench.control.until(
      () => statesOf(spec.instance).at(-1) === "ready" && statesOf(spec.instance).length > 2,
      "restarted",
    );
    expect(bench.control.reports.map(({ cause }) => cause).join("\n")).toMatch(
      /\/live answered 500 .*restart 1 in 1 s/,
    );
    expect(await answerOf(spec)).not.toBe(pid);
  });

  test("sends transitions again until they are acknowledged", async () => {
    bench.control.failAlways("health", { status: 503, code: "unavailable" });
    const spec = await running("moody");
    await answerOf(spec, "/off");
    await bench.control.until(() => bench.lines.some((line) => line.includes("instance unready")), "seen");
    expect(bench.control.reports).toEqual([]);
    bench.control.failAlways("health", undefined);
    // That it was ready before is of no use to anybody now.
    await bench.control.until(isReported(spec.instance, ["unready"]), "sent in the end");
  });
});

describe("an agent that restarts, or is alone", () => {
  test("takes up what runs without restarting it, and without a word to control", async () => {
    const spec = await running("moody");
    const before = await runtimeIdOf(spec.instance);
    await bench.control.until(isReported(spec.instance, ["ready"]), "ready");
    await bench.restart();
    await bench.control.until(() => bench.lines.some((line) => line.includes("instance adopted")), "adopted");
    expect(await runtimeIdOf(spec.instance)).toBe(before);
    const listed = { instance: spec.instance, state: "ready", seq: 0, exits: [] };
    expect(bench.control.polls.at(-1)).toMatchObject({ seq: 0, instances: [listed] });
    await answerOf(spec, "/off");
    await bench.control.until(isReported(spec.instance, ["ready", "unready"]), "probed again");
  });

  test("tells that an instance is ready which another agent was just restarting, once it has looked", async () => {
    const spec = await running("moody");
    await bench.stop();
    const file = path.join(bench.directory, "journal.json");
    const journal = JSON.parse(await readFile(file, "utf8"));
    journal.instances[spec.instance].state = "exited";
    await writeFile(file, JSON.stringify(journal));
    bench.start();
    await bench.control.until(isReported(spec.instance, ["ready", "ready"]), "ready");
  });

  test("restarts an instance that ended while no agent was there", async () => {
    const spec = await running("mortal");
    await bench.stop();
    await fetch(`http://127.0.0.1:${spec.hostPort}/die`).catch(() => {});
    bench.start();
    await bench.control.until(
      isReported(spec.instance, ["ready", "exited", "starting", "ready"]),
      "restarted",
    );
  });

  test("begins a start anew whose instance ended while no agent was there", async () => {
    const boots = `const at = Date.now() + 700; require("node:http").createServer((q, s) => { s.statusCode = Date.now() < at ? 503 : 200; s.end(); }).listen(process.env.PORT)`;
    const spec = await specFor("good", { command: ["node", "-e", boots] });
    const job = { id: "job-1", kind: "start", spec } as const;
    bench.control.give(job);
    await answerOf(spec);
    await bench.stop();
    process.kill(Number(await runtimeIdOf(spec.instance)), "SIGKILL");
    await bench.runtime.waitExit(spec.instance, AbortSignal.timeout(60_000));
    bench.start();
    await bench.control.until(() => bench.lines.some((line) => line.includes("found ended")), "found");
    bench.control.give(job);
    expect(await bench.control.result("job-1")).toMatchObject({ ok: true });
    expect(await answerOf(spec)).toBe("");
  });

  test("watches an instance its journal doesn't know, and never stops it", async () => {
    const spec = await specFor("moody");
    await bench.runtime.start(spec);
    await answerOf(spec);
    const before = await runtimeIdOf(spec.instance);
    await bench.restart();
    await bench.control.until(isReported(spec.instance, ["unready", "ready"]), "watched");
    expect(await runtimeIdOf(spec.instance)).toBe(before);
  });

  test("changes nothing while control is gone, and works on when it is back", async () => {
    const spec = await running("moody");
    const before = await runtimeIdOf(spec.instance);
    await bench.control.close();
    await bench.control.until(() => bench.lines.some((line) => line.includes("socket lost")), "noticed");
    await answerOf(spec, "/off");
    await bench.control.until(
      () => bench.lines.some((line) => line.includes("instance unready")),
      "still probed",
    );
    expect(await runtimeIdOf(spec.instance)).toBe(before);
    await bench.control.open();
    await bench.control.until(isReported(spec.instance, ["ready", "unready"]), "told later");
    bench.control.give({ id: "job-after", kind: "pull", image: "file:app" });
    expect(await bench.control.result("job-after")).toMatchObject({ ok: true });
  });

  test("keeps everything running when its token is revoked, says so, and comes back when it is valid again", async () => {
    const spec = await running("moody");
    bench.control.failAlways("poll", {
      status: 401,
      code: "token_revoked",
      detail: "the token of host one was revoked",
    });
    bench.control.wake();
    await bench.control.until(() => bench.lines.some((line) => line.includes("token_revoked")), "said");
    expect(bench.lines.find((line) => line.includes("token_revoked"))).toContain("agent enroll");
    expect(bench.lines.join()).not.toContain("slu_host-token");
    expect(await answerOf(spec)).toBe("ready: true");
    bench.control.failAlways("poll", undefined);
    bench.control.give({ id: "job-after", kind: "pull", image: "file:app" });
    expect(await bench.control.result("job-after")).toMatchObject({ ok: true });
  });
});
