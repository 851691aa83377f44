import { rm } from "node:fs/promises";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createDockerRuntime } from "../../../agent/runtime/docker/docker.ts";
import type { InstanceSpec } from "../../../src/protocol/agent/instance.ts";
import { dockerTest, engine, freePort, removeNetwork, theEngine } from "../../support/engine/docker.ts";
import { TIMED } from "../../support/patience.ts";
import { nodeCommand } from "../apps.ts";
import { nodeImage } from "../images.ts";
import { type AgentBench, agentBench } from "../running-agent.ts";
import { answerOf } from "../runtime/runtime.contract.ts";
import { specOf } from "../specs.ts";

/** Whatever somebody does to what runs, by hand and from outside: it is to run again, without anybody asking for it. */
const host = `host-${Math.random().toString(36).slice(2, 10)}`;
const OWN_NETWORK = `sluice-own-${host}`;
let bench: AgentBench;
let instances = 0;

const statesOf = (instance: string) =>
  bench.control.reports.filter((one) => one.instance === instance).map(({ state }) => state);
const told = (instance: string, state: string) =>
  bench.control.until(() => statesOf(instance).at(-1) === state, `${instance} is ${state}`, 30_000);

async function running(image: string, more: Partial<InstanceSpec> = {}) {
  const spec = specOf({
    instance: `${host}-${++instances}`,
    image,
    hostPort: await freePort(),
    command: nodeCommand("good"),
    env: { OWN: "first" },
    ...more,
  });
  bench.control.give({ id: `start-${spec.instance}`, kind: "start", spec });
  expect(await bench.control.result(`start-${spec.instance}`)).toMatchObject({ ok: true });
  await told(spec.instance, "ready");
  bench.control.claim = { environmentId: "env-1", env: { OWN: "claimed" }, secretNames: [] };
  return spec;
}

const ownOf = async (spec: Parameters<typeof answerOf>[0]) => JSON.parse(await answerOf(spec)).own;

describe("an instance on Docker whose container", () => {
  beforeEach(async () => {
    if (engine) bench = await agentBench({ runtime: createDockerRuntime({ host }) });
  });
  afterEach(async () => {
    const { invalid } = bench?.control ?? { invalid: [] };
    await bench?.close();
    await removeNetwork(OWN_NETWORK);
    expect(invalid).toEqual([]);
  });
  const docker = (method: string, place: string, query: Record<string, string> = {}) =>
    theEngine().bytes(method, place, { query });
  const nameOf = (instance: string) => `sluice-${instance}`;

  dockerTest("was removed is made again, with variables that control is asked for", TIMED, async () => {
    const spec = await running(await nodeImage());
    const removed = performance.now();
    await docker("DELETE", `/containers/${nameOf(spec.instance)}`, { force: "1" });
    await told(spec.instance, "exited");
    await told(spec.instance, "ready");
    expect(performance.now() - removed).toBeLessThan(10_000);
    expect(bench.control.claims).toEqual([spec.instance]);
    expect(await ownOf(spec)).toBe("claimed");
    // Nobody crashed.
    expect(bench.control.reports.at(-1)?.exits).toEqual([]);
  });

  dockerTest("was removed while no agent was there is made again by the next", async () => {
    const spec = await running(await nodeImage());
    await bench.stop();
    await docker("DELETE", `/containers/${nameOf(spec.instance)}`, { force: "1" });
    bench.start();
    await told(spec.instance, "exited");
    await told(spec.instance, "ready");
    expect(await ownOf(spec)).toBe("claimed");
  });

  dockerTest("was removed, and that control wants here no more, is gone", async () => {
    const spec = await running(await nodeImage());
    bench.control.failAlways("claim", { status: 404, code: "not_found", detail: "not meant to run here" });
    await docker("DELETE", `/containers/${nameOf(spec.instance)}`, { force: "1" });
    await told(spec.instance, "gone");
    expect(bench.control.reports.at(-1)?.cause).toContain("not meant to run here");
  });

  dockerTest("was removed while control is away is made again when it is back", async () => {
    const spec = await running(await nodeImage());
    bench.control.failAlways("claim", { status: 503, code: "unavailable" });
    await docker("DELETE", `/containers/${nameOf(spec.instance)}`, { force: "1" });
    const waits = () => bench.lines.some((line) => line.includes("only when control answers"));
    await bench.control.until(waits, "it says what it waits for");
    bench.control.failAlways("claim", undefined);
    await told(spec.instance, "ready");
  });

  dockerTest("was stopped is started again", async () => {
    const spec = await running(await nodeImage());
    await docker("POST", `/containers/${nameOf(spec.instance)}/stop`, { t: "1" });
    await told(spec.instance, "exited");
    await told(spec.instance, "ready");
    expect(bench.control.claims).toEqual([]);
  });

  dockerTest("was killed is started again, and that is its own end: an app may do so", async () => {
    const spec = await running(await nodeImage());
    await docker("POST", `/containers/${nameOf(spec.instance)}/kill`);
    await told(spec.instance, "exited");
    await told(spec.instance, "ready");
    expect(bench.control.claims).toEqual([]);
    expect(bench.control.reports.at(-1)?.exits).toHaveLength(1);
  });

  dockerTest.each(["bridge", "own"])("was cut off its network (%s) is connected again", async (which) => {
    const network = which === "own" ? OWN_NETWORK : undefined;
    const spec = await running(await nodeImage(), { ...(network && { network }) });
    const body = { Container: nameOf(spec.instance), Force: true };
    await theEngine().bytes("POST", `/networks/${network ?? "bridge"}/disconnect`, { json: body });
    const isSaid = () => bench.lines.some((line) => line.includes("was cut off its network"));
    await bench.control.until(isSaid, "noticed");
    await expect.poll(() => ownOf(spec)).toBe("first");
    expect(statesOf(spec.instance)).not.toContain("exited");
  });

  dockerTest("was paused runs on", async () => {
    const spec = await running(await nodeImage());
    await docker("POST", `/containers/${nameOf(spec.instance)}/pause`);
    await bench.control.until(
      () => bench.lines.some((line) => line.includes("was paused from outside")),
      "noticed",
    );
    expect(await ownOf(spec)).toBe("first");
    expect(statesOf(spec.instance)).not.toContain("exited");
  });

  dockerTest("is a worker's, of which nothing is asked, and was paused runs on", async () => {
    const worker = { process: "mailer", steadyMs: 100 };
    const spec = await running(await nodeImage(), { worker });
    await docker("POST", `/containers/${nameOf(spec.instance)}/pause`);
    const isSaid = () => bench.lines.some((line) => line.includes("was paused from outside"));
    await bench.control.until(isSaid, "noticed");
    expect(statesOf(spec.instance)).not.toContain("exited");
  });

  dockerTest("was renamed is known all the same, and gets its name back", async () => {
    const spec = await running(await nodeImage());
    await docker("POST", `/containers/${nameOf(spec.instance)}/rename`, { name: `my-${spec.instance}` });
    await docker("POST", `/containers/my-${spec.instance}/stop`, { t: "1" });
    await told(spec.instance, "exited");
    await told(spec.instance, "ready");
    expect(bench.control.claims).toEqual([]);
    expect(await ownOf(spec)).toBe("first");
    bench.control.give({ id: "job-stop", kind: "stop", instance: spec.instance, graceMs: 0 });
    expect(await bench.control.result("job-stop")).toMatchObject({ ok: true });
    expect(await bench.runtime.list()).toMatchObject({ value: [] });
  });
});

describe("an instance as a plain process", () => {
  beforeEach(async () => {
    bench = await agentBench();
  });
  afterEach(() => bench.close());

  test("whose record was removed with it is made again, with variables that control is asked for", async () => {
    const spec = await running("file:app");
    const listed = await bench.runtime.list();
    const pid = listed.ok ? Number(listed.value[0]?.runtimeId) : 0;
    await rm(path.join(bench.directory, "processes", spec.instance), { recursive: true });
    process.kill(-pid, "SIGKILL");
    await told(spec.instance, "exited");
    await told(spec.instance, "ready");
    expect(await ownOf(spec)).toBe("claimed");
  });
});
