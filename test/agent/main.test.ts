import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createDockerRuntime } from "../../agent/runtime/docker/docker.ts";
import { createProcessRuntime } from "../../agent/runtime/process/process.ts";
import type { Runtime } from "../../agent/runtime/runtime.ts";
import { AGENT_VERSION } from "../../agent/version.ts";
import { dockerTest, freePort } from "../support/engine/docker.ts";
import { FakeControl } from "../support/fake-control.ts";
import { TIMED } from "../support/patience.ts";
import { bundledAgent, COMPILED } from "../support/services/bundled-agent.ts";
import { nodeCommand } from "./apps.ts";
import { nodeImage } from "./images.ts";
import { answerOf } from "./runtime/runtime.contract.ts";
import { healthOf, runOf, specOf } from "./specs.ts";

const BIN = path.resolve(import.meta.dirname, "../../agent/bin.js");

let base: string;
let state: string;
let control: FakeControl;
const children: ChildProcess[] = [];

beforeEach(async () => {
  base = await mkdtemp(path.join(tmpdir(), "sluice-main-"));
  state = path.join(base, "state");
  await mkdir(path.join(base, "root", "app"), { recursive: true });
  control = await new FakeControl().open();
});
afterEach(async () => {
  for (const child of children.splice(0)) await kill(child, "SIGKILL");
  await control.close();
  await rm(base, { recursive: true, force: true });
  expect(control.invalid).toEqual([]);
});

/** From its sources. */
const agent = (...args: string[]) => started(BIN, args);

/** From its bundle. */
const bundle = async (...args: string[]) => started(await bundledAgent(), args, COMPILED);

function started(file: string, args: string[], more = {}): ChildProcess & { said: string[] } {
  const env = { ...process.env, SLUICE_ENROLL_TOKEN: "slu_one-time", ...more };
  const child = spawn(process.execPath, [file, ...args], { env, stdio: ["ignore", "ignore", "pipe"] });
  const said: string[] = [];
  child.stderr?.setEncoding("utf8").on("data", (chunk: string) => said.push(chunk));
  children.push(child);
  return Object.assign(child, { said });
}

const runArgs = (runtime: "process" | "docker") => [
  ...["run", "--state", state, "--url", control.url, "--runtime", runtime, "--log", "json"],
  ...(runtime === "process" ? ["--process-root", path.join(base, "root")] : []),
];

async function kill(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    child.kill(signal);
    await once(child, "exit");
  }
  return child.exitCode;
}

describe("agent enroll", () => {
  test("trades the token for credentials that only their owner can read, and never logs either", async () => {
    const child = agent(
      "enroll",
      "--state",
      state,
      "--url",
      control.url,
      "--port-base",
      "21000",
      "--origin-base",
      "http://127.0.0.1",
    );
    await once(child, "exit");
    expect(child.exitCode).toBe(0);
    expect(control.enrollments).toMatchObject([
      { token: "slu_one-time", runtime: "docker", portBase: 21_000, originBase: "http://127.0.0.1" },
    ]);
    const file = path.join(state, "credentials.json");
    expect(JSON.parse(await readFile(file, "utf8"))).toMatchObject({
      token: "slu_host",
      host: { id: "host-1" },
    });
    expect((await stat(file)).mode & 0o077).toBe(0);
    expect(child.said.join()).not.toContain("slu_");
  });

  test("sends no token over plain http, enrolled or not", async () => {
    // Linux takes this for the machine itself: whatever were sent would arrive.
    const url = control.url.replace("127.0.0.1", "0.0.0.0");
    const first = agent("enroll", "--state", state, "--url", url);
    expect((await once(first, "exit"))[0]).toBe(1);
    expect(first.said.join("")).toContain(`${url} is plain http`);
    const credentials = { url, token: "slu_x", host: { id: "h", name: "h" }, runtime: "process" };
    await mkdir(state, { recursive: true });
    await writeFile(path.join(state, "credentials.json"), JSON.stringify(credentials));
    const second = agent(...runArgs("process"));
    expect((await once(second, "exit"))[0]).toBe(1);
    expect(second.said.join("")).toContain("is plain http");
    expect(control.asked).toEqual([]);
  });

  test("says what control said when the token is refused", async () => {
    control.failAlways("enroll", {
      status: 403,
      code: "enrollment_invalid",
      detail: "the token was used already",
    });
    const child = agent("enroll", "--state", state, "--url", control.url);
    await once(child, "exit");
    expect(child.exitCode).toBe(1);
    expect(child.said.join()).toContain("the token was used already");
  });

  test("works from its bundle, one file without packages beside it, by the policy that it is given", async () => {
    const file = path.join(base, "agent.mjs");
    await copyFile(await bundledAgent(), file);
    const env = { SLUICE_ENROLL_TOKEN: "slu_one-time" };
    const policy = path.join(base, "policy.yaml");
    await writeFile(policy, "images: []\nhooks: false", { mode: 0o600 });
    const args = [file, ...runArgs("process"), "--policy", policy];
    const child = spawn(process.execPath, args, { env, stdio: "ignore" });
    children.push(child);
    control.give({
      id: "job-0",
      kind: "run",
      ...runOf({ run: "run-1", image: "file:app", command: ["true"] }),
    });
    expect(await control.result("job-0")).toMatchObject({ ok: false, error: { code: "policy_refused" } });
    control.give({ id: "job-1", kind: "pull", image: "file:app" });
    expect(await control.result("job-1")).toMatchObject({ ok: true });
    expect(control.polls[0]?.agentVersion).toBe(AGENT_VERSION);
    expect(await kill(child, "SIGTERM")).toBe(0);
  });

  test("refuses a second one on the same state directory, which the first then still has", async () => {
    const first = agent(...runArgs("process"));
    await control.until(() => control.polls.length > 0, "polled");
    const second = agent(...runArgs("process"));
    await once(second, "exit");
    expect(second.exitCode).toBe(1);
    expect(second.said.join()).toContain(`another agent runs on ${state} (pid ${first.pid}`);
    expect(await kill(first, "SIGTERM")).toBe(0);
    const third = agent(...runArgs("process"));
    await control.until(() => new Set(control.polls.map(({ boot }) => boot)).size === 2, "polled");
    expect(third.exitCode).toBeNull();
  });

  test.each([
    ["images: ['**']\nvolums: {}", "line 2: `volums` is not a key of the policy: did you mean `volumes`?"],
    ["images: ['**'", "line 1: "],
    ["", "`images` is missing"],
  ])("does not start by a policy that reads %j, before it enrols, and says the line", async (text, said) => {
    const policy = path.join(base, "policy.yaml");
    await writeFile(policy, text, { mode: 0o600 });
    const child = agent(...runArgs("process"), "--policy", policy);
    await once(child, "exit");
    expect(child.exitCode).toBe(1);
    expect(JSON.parse(child.said.join("")).event).toContain(said);
    expect(control.enrollments).toEqual([]);
  });

  test("refuses to run without credentials and without a way to get them", async () => {
    const child = agent("run", "--state", state);
    await once(child, "exit");
    expect(child.exitCode).toBe(1);
    expect(child.said.join()).toContain("--url and --token");
  });
});

const runtimes: Record<"process" | "docker", () => Runtime> = {
  process: () =>
    createProcessRuntime({ root: path.join(base, "root"), directory: path.join(state, "processes") }),
  docker: () => createDockerRuntime({ host: "host-1" }),
};

for (const [name, it] of [
  ["process", test],
  ["docker", dockerTest],
] as const) {
  describe(`agent run on the ${name} runtime`, () => {
    let runtime: Runtime;
    beforeEach(() => {
      runtime = runtimes[name]();
    });
    afterEach(async () => {
      const listed = await runtime.list();
      for (const { instance } of listed.ok ? listed.value : []) await runtime.stop(instance, 0);
    });

    const newSpec = async (app: "moody" | "good", over = {}) =>
      specOf({
        instance: `ins-${Math.random().toString(36).slice(2, 10)}`,
        image: name === "docker" ? await nodeImage() : "file:app",
        hostPort: await freePort(),
        command: nodeCommand(app),
        ...over,
      });

    async function runtimeIds() {
      const listed = await runtime.list();
      return listed.ok
        ? listed.value.map(({ runtimeId, running }) => `${runtimeId} ${running}`)
        : listed.error;
    }

    it("leaves everything running when it is told to end, and ends at once", {
      ...TIMED,
      timeout: 60_000,
    }, async () => {
      const child = await bundle(...runArgs(name));
      const spec = await newSpec("good");
      control.give({ id: "job-1", kind: "start", spec });
      await control.result("job-1");
      const before = await runtimeIds();
      const asked = Date.now();
      expect(await kill(child, "SIGTERM")).toBe(0);
      expect(Date.now() - asked).toBeLessThan(2_500);
      expect(await runtimeIds()).toEqual(before);
      expect(await answerOf(spec)).toContain(spec.instance);
    });

    it("adopts the same instances after it was killed, and restarts none", async () => {
      const first = await bundle(...runArgs(name));
      const spec = await newSpec("moody");
      control.give({ id: "job-1", kind: "start", spec });
      await control.result("job-1");
      await control.until(() => control.reports.length === 1, "ready");
      const before = await runtimeIds();
      await kill(first, "SIGKILL");
      const second = await bundle(...runArgs(name));
      await control.until(() => second.said.join().includes("instance adopted"), "adopted");
      expect(control.enrollments).toHaveLength(1);
      expect(await runtimeIds()).toEqual(before);
      await control.until(() => control.polls.some(({ boot }) => boot !== control.polls[0]?.boot), "polled");
      expect(control.polls.at(-1)?.instances).toMatchObject([{ instance: spec.instance, state: "ready" }]);
      await answerOf(spec, "/off");
      await control.until(() => control.reports.length === 2, "probed again");
      expect(control.reports.map(({ state }) => state)).toEqual(["ready", "unready"]);
      expect(await runtimeIds()).toEqual(before);
    });

    describe("killed in the middle of a hook", () => {
      const run = `run-${Math.random().toString(36).slice(2, 10)}`;
      const began = async () => (await runtime.runs.logs(run, 50)).find((line) => line.startsWith("began"));
      afterEach(async () => {
        await runtime.runs.stop(run, 0);
        await runtime.runs.remove(run);
      });

      /** Kills the agent once the hook runs, and answers how to hand its job out again and what it said so far. */
      async function killMidHook() {
        const first = await bundle(...runArgs(name));
        const image = name === "docker" ? await nodeImage() : "file:app";
        const job = {
          id: "job-1",
          kind: "run",
          ...runOf({ run, image, command: nodeCommand("migrates") }),
        } as const;
        control.give(job);
        await expect.poll(began).toBeDefined();
        await kill(first, "SIGKILL");
        return { handOut: () => control.give(job), said: await began() };
      }

      it("follows it to its end when it still runs, and begins no other", async () => {
        const { handOut, said } = await killMidHook();
        await bundle(...runArgs(name));
        handOut();
        expect(await control.result("job-1")).toMatchObject({ ok: true, result: { logs: [said, "ended"] } });
        await expect.poll(() => runtime.runs.find(run)).toEqual({ ok: true, value: "none" });
      });

      it("tells how it ended when that was before the agent came back", async () => {
        const { handOut, said } = await killMidHook();
        await runtime.runs.waitExit(run, AbortSignal.timeout(60_000));
        await bundle(...runArgs(name));
        handOut();
        expect(await control.result("job-1")).toMatchObject({ ok: true, result: { logs: [said, "ended"] } });
      });

      it("says that it was interrupted when nothing of it is left", async () => {
        const { handOut } = await killMidHook();
        await runtime.runs.stop(run, 0);
        await runtime.runs.remove(run);
        await bundle(...runArgs(name));
        handOut();
        expect(await control.result("job-1")).toMatchObject({
          ok: false,
          error: { code: "hook_interrupted" },
        });
        expect(await runtime.runs.find(run)).toEqual({ ok: true, value: "none" });
      });
    });

    it("finishes a start it was killed in the middle of, with the same instance, when the job is handed out again", async () => {
      const first = await bundle(...runArgs(name));
      const boots =
        "const at = Date.now() + 3000; require('node:http').createServer((q, s) => { s.statusCode = Date.now() < at ? 503 : 200; s.end(); }).listen(process.env.PORT)";
      const spec = await newSpec("good", { command: ["node", "-e", boots], health: healthOf() });
      control.give({ id: "job-1", kind: "start", spec });
      await answerOf(spec);
      await kill(first, "SIGKILL");
      const before = await runtimeIds();
      await bundle(...runArgs(name));
      await control.until(() => control.polls.some(({ boot }) => boot !== control.polls[0]?.boot), "polled");
      expect(control.polls.at(-1)?.instances).toMatchObject([{ instance: spec.instance, state: "starting" }]);
      control.give({ id: "job-1", kind: "start", spec });
      expect(await control.result("job-1")).toMatchObject({ ok: true });
      expect(await runtimeIds()).toEqual(before);
    });
  });
}
