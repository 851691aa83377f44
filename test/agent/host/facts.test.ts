import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { collectFacts, type FactSources, Facts } from "../../../agent/host/facts.ts";
import { portsProblem } from "../../../agent/host/ports.ts";
import { createEngine } from "../../../agent/runtime/docker/engine.ts";
import type { HostFactsReport } from "../../../src/protocol/agent/host-facts.ts";
import { hostFactsSchema } from "../../../src/protocol/agent/host-facts.ts";
import { dockerTest, theEngine } from "../../support/engine/docker.ts";
import { agentBench } from "../running-agent.ts";

let directory: string;
let tunnel: HostFactsReport["tunnel"];
let sources: FactSources;
let percentFree = 40;
const clock = {
  time: 1_000_000,
  set: 0,
  now: () => clock.time + clock.set,
  monotonic: () => clock.time,
  sleep: () => new Promise<void>(() => {}),
};

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), "sluice-facts-"));
  tunnel = undefined;
  percentFree = 40;
  const statfs = async () => ({ bsize: 1_000, blocks: 1_000, bavail: percentFree * 10 });
  sources = { directory, tunnel: () => tunnel, statfs };
});
afterEach(() => rm(directory, { recursive: true, force: true }));

describe("the slots' ports", () => {
  const kernel =
    (range: string, reserved = "") =>
    async (file: string) =>
      file.endsWith("reserved_ports") ? `${reserved}\n` : `${range}\n`;
  const ports = { first: 36_000, last: 36_007 };

  test.each([
    ["below the kernel's own", "40000\t60999", ""],
    ["reserved there", "32768\t60999", "8080,36000-36015"],
    ["on a system that doesn't tell", "", ""],
  ])("are nobody else's when they are %s", async (_words, range, reserved) => {
    expect(await portsProblem(ports, kernel(range, reserved))).toBeUndefined();
  });

  test("are warned of where the kernel may give them to anybody, with the way out", async () => {
    const problem = await portsProblem(ports, kernel("32768\t60999", "36000-36003"));
    expect(problem).toContain("32768 to 60999");
    expect(problem).toContain("ip_local_reserved_ports=36000-36007");
  });
});

describe("a host's facts", () => {
  test("name system, architecture, Node and disk on a host without an engine", async () => {
    const facts = hostFactsSchema.parse(await collectFacts(sources));
    expect(facts).toEqual({
      os: expect.stringMatching(/\w/),
      arch: process.arch,
      node: process.version,
      disk: { path: directory, totalBytes: 1_000_000, freeBytes: 400_000 },
    });
  });

  dockerTest("name the engine, and the fuller of its disk and the agent's", async () => {
    const facts = hostFactsSchema.parse(await collectFacts({ ...sources, engine: theEngine() }));
    expect(facts.engine).toEqual({
      version: expect.stringMatching(/^\d+\./),
      apiVersion: expect.stringMatching(/^1\.\d+/),
      storageDriver: expect.any(String),
      liveRestore: expect.any(Boolean),
    });
    expect(facts.disk?.path).toMatch(/docker|sluice-facts/);
  });

  test("say in words that no engine answers", async () => {
    const engine = createEngine(`unix://${directory}/none.sock`);
    const { engine: told } = await collectFacts({ ...sources, engine });
    expect(told).toEqual({ problem: expect.stringContaining("no Docker engine answers at unix://") });
  });
});

describe("what the next poll carries", () => {
  test("is all of it first, and nothing once control has it", async () => {
    const facts = new Facts(sources, clock);
    const first = await facts.due();
    expect(first).toBeDefined();
    expect(await facts.due()).toBe(first);
    if (first) facts.told(first);
    expect(await facts.due()).toBeUndefined();
    clock.time += 60_000;
    expect(await facts.due()).toBeUndefined();
  });

  test("is how the host fares, once a minute: with a poll that comes anyway", async () => {
    let done = 1;
    const facts = new Facts({ ...sources, counted: () => ({ jobs: { done, failed: 0 } }) }, clock);
    const first = await facts.due();
    expect(hostFactsSchema.parse(first).usage).toMatchObject({
      jobs: { done: 1, failed: 0 },
      memory: { totalBytes: expect.any(Number) },
    });
    if (first) facts.told(first);
    expect(await facts.due()).toBeUndefined();
    done = 2;
    clock.time += 60_000;
    expect((await facts.due())?.usage?.jobs).toEqual({ done: 2, failed: 0 });
  });

  test("is free disk only when it crosses 20, 10 and 5 %", async () => {
    const facts = new Facts(sources, clock);
    const isTold = async (percent: number) => {
      percentFree = percent;
      clock.time += 60_000;
      const due = await facts.due();
      if (due) facts.told(due);
      return due !== undefined;
    };
    const seen: [number, boolean][] = [];
    for (const percent of [40, 30, 19, 12, 9, 6, 4, 1, 5, 25]) seen.push([percent, await isTold(percent)]);
    expect(seen.filter(([, told]) => told).map(([percent]) => percent)).toEqual([40, 19, 9, 4, 5, 25]);
  });

  test("is looked up once a minute at most, unless something is known to have changed", async () => {
    const facts = new Facts(sources, clock);
    const first = await facts.due();
    if (first) facts.told(first);
    tunnel = { state: "connected" };
    clock.time += 59_000;
    expect(await facts.due()).toBeUndefined();
    facts.stale();
    expect(await facts.due()).toMatchObject({ tunnel });
  });

  test("is looked up again although the host's clock was set back", async () => {
    const facts = new Facts(sources, clock);
    const first = await facts.due();
    if (first) facts.told(first);
    tunnel = { state: "down" };
    clock.set -= 3_600_000;
    clock.time += 61_000;
    expect(await facts.due()).toMatchObject({ tunnel });
  });
});

test("an agent tells its facts with its first poll, and keeps quiet about them in the next", async () => {
  const bench = await agentBench();
  const { control } = bench;
  await control.until(() => control.polls.length >= 2, "polled twice");
  expect(control.polls[0]?.facts).toMatchObject({ arch: process.arch, node: process.version });
  expect(control.polls[1]?.facts).toBeUndefined();
  await bench.restart();
  await control.until(() => control.polls.at(-1)?.boot !== control.polls[0]?.boot, "restarted");
  const second = control.polls.find(({ boot }) => boot !== control.polls[0]?.boot);
  expect(second?.facts).toMatchObject({ arch: process.arch });
  await bench.close();
});
