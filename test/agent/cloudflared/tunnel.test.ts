import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { isAlive } from "../../../cli/ship/hosts/folder.ts";
import type { TunnelAnswer } from "../../../src/protocol/agent/tunnel.ts";
import { type AgentBench, agentBench } from "../running-agent.ts";
import { ask, type Behaviour, type Noted, noted, standInProgram, tokenOf } from "./cloudflared-stand-in.ts";

let directory: string;
let bench: AgentBench;
const others: ChildProcess[] = [];

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), "sluice-tunnel-"));
  bench = await agentBench({ cloudflared: { program: await standInProgram(directory) } });
});
afterEach(async () => {
  const { invalid } = bench.control;
  await bench.close();
  for (const { pid } of await noted(directory)) if (isAlive(pid)) process.kill(pid, "SIGKILL");
  for (const other of others.splice(0)) other.kill("SIGKILL");
  await rm(directory, { recursive: true, force: true });
  expect(invalid).toEqual([]);
});

let rev = 0;
function ready(behaviour: Partial<Behaviour> & Pick<Behaviour, "name">, configVersion = 1): TunnelAnswer {
  const token = tokenOf({ directory, ...behaviour });
  return { state: "ready", rev: ++rev, tunnelId: "t-1", token, configVersion };
}
/** Control has another tunnel or token for the host, and says so with the next poll. */
function give(answer: TunnelAnswer): void {
  bench.control.tunnel = answer;
  bench.control.tunnelRev = rev;
  bench.control.wake();
}

const facts = () => bench.control.polls.findLast((poll) => poll.facts)?.facts?.tunnel;
const isTold = (state: string) =>
  bench.control.until(() => facts()?.state === state, `the tunnel is ${state}`);
const happened = async (event: Noted["event"], name: string) =>
  (await noted(directory)).filter((one) => one.event === event && one.name === name);
async function first(event: Noted["event"], name: string): Promise<Noted> {
  await expect.poll(async () => (await happened(event, name)).length).toBeGreaterThan(0);
  const [found] = await happened(event, name);
  if (!found) throw new Error("not found");
  return found;
}

/** A connected cloudflared. */
async function connected(behaviour: Partial<Behaviour> = {}, configVersion = 1): Promise<Noted> {
  give(ready({ name: "a", ...behaviour }, configVersion));
  await isTold("connected");
  return first("started", behaviour.name ?? "a");
}

describe("cloudflared under the agent", () => {
  test("gets its token by a file that only its owner can read, a grace beyond any drain, and nothing secret else", async () => {
    const { args, variables } = await connected();
    expect(args).toEqual([
      "tunnel",
      "--no-autoupdate",
      "--metrics",
      expect.stringMatching(/^127\.0\.0\.1:\d+$/),
      "--grace-period",
      "150s",
      "run",
    ]);
    expect(variables).toContain("TUNNEL_TOKEN_FILE");
    expect(variables).not.toContain("SLUICE_ENROLL_TOKEN");
    const kept = path.join(bench.directory, "cloudflared");
    for (const name of await readdir(kept)) expect((await stat(path.join(kept, name))).mode & 0o077).toBe(0);
    expect((await stat(path.join(bench.directory, "tunnel.json"))).mode & 0o077).toBe(0);
    expect(bench.lines.join()).not.toContain(tokenOf({ directory, name: "a" }));
  });

  test("is told of with its version, its connections and the rules it runs", async () => {
    await connected({ configVersion: 7 }, 7);
    expect(facts()).toEqual({
      state: "connected",
      version: "2026.8.2",
      configVersion: 7,
      readyConnections: 4,
    });
  });

  test("is told of with what it carried, which only this host can ask it", async () => {
    await connected({ configVersion: 7 }, 7);
    const told = bench.control.polls.findLast((poll) => poll.facts?.tunnel?.state === "connected");
    expect(told?.facts?.usage).toMatchObject({
      jobs: { done: 0, failed: 0 },
      cloudflared: { requests: 1_234, errors: 7 },
    });
  });

  test("is not there on a host whose control makes no tunnels", async () => {
    await bench.control.until(() => bench.control.polls.length >= 2, "polled, and connected");
    expect(bench.control.asked).not.toContain("tunnel");
    rev += 1;
    give({ state: "none" });
    await bench.control.until(() => bench.control.asked.includes("tunnel"), "asked");
    bench.control.wake();
    expect(facts()).toBeUndefined();
    expect(await readdir(bench.directory)).not.toContain("cloudflared");
    expect(await noted(directory)).toEqual([]);
  });

  test("starts once Cloudflare has made the tunnel, and until then says what is waited for", async () => {
    rev += 1;
    give({ state: "pending", cause: "Cloudflare answers 429", retryAfterMs: 200 });
    await isTold("starting");
    expect(facts()?.cause).toBe("Cloudflare answers 429");
    bench.control.tunnel = ready({ name: "a" });
    await isTold("connected");
  });

  test("is asked for once per change, not with each poll", async () => {
    await connected();
    for (let n = 0; n < 3; n++) {
      const before = bench.control.polls.length;
      bench.control.wake();
      await bench.control.until(() => bench.control.polls.length > before, "polled");
    }
    expect(bench.control.asked.filter((one) => one === "tunnel")).toHaveLength(1);
  });

  test("lives on without the agent, and the next agent takes the same one up", async () => {
    const { pid } = await connected();
    await bench.restart();
    await bench.control.until(
      () => new Set(bench.control.polls.map(({ boot }) => boot)).size === 2 && facts()?.state === "connected",
      "adopted",
    );
    expect(isAlive(pid)).toBe(true);
    expect(await noted(directory)).toHaveLength(1);
  });

  test("comes back with the token it had, when it and control are away", async () => {
    const { pid } = await connected();
    await bench.stop();
    process.kill(pid, "SIGKILL");
    await bench.control.close();
    bench.start();
    await expect.poll(async () => (await happened("started", "a")).length).toBe(2);
    await bench.control.open();
  });

  test("is started again when it ends, and what it said is told", async () => {
    const one = await connected();
    await ask(one, "/exit");
    await expect.poll(async () => (await happened("started", "a")).length).toBe(2);
    await isTold("connected");
    expect(bench.lines.some((line) => line.startsWith("warn cloudflared ended"))).toBe(true);
  });

  test("of the host that this machine was before is not started for the one it is now", async () => {
    await bench.stop();
    const token = tokenOf({ directory, name: "a" });
    const kept = { host: "host-0", rev: 9, tunnelId: "t-0", token, configVersion: 1 };
    await writeFile(path.join(bench.directory, "tunnel.json"), JSON.stringify(kept));
    bench.start();
    rev = 8;
    give(ready({ name: "b" }));
    await isTold("connected");
    expect((await noted(directory)).map(({ name }) => name)).toEqual(["b"]);
  });

  test("is left running when control knows no tunnel any more", async () => {
    const { pid } = await connected();
    rev += 1;
    give({ state: "none" });
    await expect.poll(() => bench.lines.join()).toContain("left running");
    expect(isAlive(pid)).toBe(true);
    expect(await happened("told to end", "a")).toEqual([]);
  });
});

describe("another token", () => {
  test("gets a cloudflared of its own, and the one before ends only when that one is connected", async () => {
    const old = await connected();
    give(ready({ name: "b", slow: true }));
    const next = await first("started", "b");
    // Time enough for a mistake: the agent looks twice a second now.
    await expect.poll(() => bench.lines.filter((line) => line.includes("cloudflared starts")).length).toBe(2);
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    expect(await happened("told to end", "a")).toEqual([]);
    expect(facts()?.state).toBe("connected");
    await ask(next, "/ready?ready=1");
    await first("ended", "a");
    expect(isAlive(next.pid)).toBe(true);
    expect(await happened("told to end", "b")).toEqual([]);
    expect(await happened("told to end", "a")).toHaveLength(1);
    await expect.poll(() => isAlive(old.pid)).toBe(false);
    const left = async () => (await readdir(path.join(bench.directory, "cloudflared"))).length;
    await expect.poll(left).toBe(3);
    expect(bench.control.polls.some((poll) => poll.facts?.tunnel?.state === "down")).toBe(false);
  });

  test("that Cloudflare refuses leaves the one before running, and is said", async () => {
    const { pid } = await connected();
    give(ready({ name: "b", refused: true }));
    await first("refused", "b");
    await expect.poll(() => bench.lines.join()).toContain("refuses this tunnel's token");
    expect(isAlive(pid)).toBe(true);
    expect(facts()?.state).toBe("connected");
  });

  test("is taken up by the next agent where this one was interrupted", async () => {
    await connected();
    give(ready({ name: "b", slow: true }));
    const next = await first("started", "b");
    await bench.restart();
    await ask(next, "/ready?ready=1");
    await first("ended", "a");
    expect(await happened("started", "b")).toHaveLength(1);
  });

  test("is no reason to restart when only the rules changed", async () => {
    const one = await connected();
    const answer = ready({ name: "a" }, 2);
    give(answer);
    await ask(one, "/ready?version=2");
    await bench.control.until(() => facts()?.configVersion === 2, "the new rules run");
    expect(await noted(directory)).toHaveLength(1);
  });
});

describe("what can't be", () => {
  test("a refused token is told as down, with what it means", async () => {
    give(ready({ name: "a", refused: true }));
    await bench.control.until(() => facts()?.cause !== undefined, "told");
    expect(facts()?.cause).toContain("Cloudflare refuses this tunnel's token");
  });

  test("blocked UDP is told although it is connected over http2", async () => {
    await connected({ quicBlocked: true });
    await bench.control.until(() => facts()?.cause !== undefined, "told");
    expect(facts()).toMatchObject({
      state: "connected",
      cause: expect.stringMatching(/UDP 7844.*blocked.*falls back to http2/),
    });
  });

  test("a host without cloudflared and without an engine says so", async () => {
    await bench.close();
    bench = await agentBench({ cloudflared: { program: path.join(directory, "none") } });
    give(ready({ name: "a" }));
    await isTold("down");
    expect(facts()?.cause).toContain("install cloudflared");
  });
});

describe("a record of an earlier agent", () => {
  async function record(pid: number): Promise<{ file: string; kept: { pid: number } }> {
    const folder = path.join(bench.directory, "cloudflared");
    for (const name of await readdir(folder)) {
      const file = path.join(folder, name);
      const kept = name.endsWith(".json") && JSON.parse(await readFile(file, "utf8"));
      if (kept && kept.pid === pid) return { file, kept };
    }
    throw new Error(`no record of ${pid}`);
  }
  async function rewrite(pid: number, over: object): Promise<void> {
    const { file, kept } = await record(pid);
    await writeFile(file, JSON.stringify({ ...kept, ...over }));
  }

  test("never leads to another process that got the pid", async () => {
    const { pid } = await connected();
    await bench.stop();
    process.kill(pid, "SIGKILL");
    const other = spawn("sleep", ["60"]);
    await once(other, "spawn");
    others.push(other);
    await rewrite(pid, { pid: other.pid, retireBy: 1 });
    bench.start();
    await expect.poll(async () => (await happened("started", "a")).length).toBe(2);
    expect(isAlive(other.pid ?? 0)).toBe(true);
  });

  test("leads to a cloudflared whose pid the agent had no time to write", async () => {
    const { pid } = await connected();
    await bench.stop();
    await rewrite(pid, { pid: 0, birth: "" });
    bench.start();
    await expect.poll(() => record(pid).catch(() => undefined)).toBeDefined();
    await isTold("connected");
    expect(await noted(directory)).toHaveLength(1);
  });

  test("has one that ignores its signal ended by force once its grace is over", async () => {
    const { pid } = await connected({ deaf: true });
    await bench.stop();
    await rewrite(pid, { retireBy: Date.now() + 60_000 });
    bench.start();
    await first("told to end", "a");
    await bench.stop();
    expect(isAlive(pid)).toBe(true);
    await rewrite(pid, { retireBy: 1 });
    bench.start();
    await expect.poll(() => isAlive(pid)).toBe(false);
    expect(await happened("told to end", "a")).toHaveLength(1);
  });
});
