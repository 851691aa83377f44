/**
 * What the agent costs a host: resident memory and CPU over a window, with ten instances that are probed as a manifest's
 * defaults say. Both forms of it: the bundle that hosts get, and the sources as a checkout runs them
 * the first time, with nothing compiled in its cache.
 * BENCH_AGENT_S: seconds of the window (60; with --quick 15). BENCH_RUNTIME: `docker` (if there is an engine) or `process`.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createDockerRuntime } from "../agent/runtime/docker/docker.ts";
import { createProcessRuntime } from "../agent/runtime/process/process.ts";
import type { Runtime } from "../agent/runtime/runtime.ts";
import { bundleAgent, NODE_FLAGS } from "../local/bundle-agent.ts";
import { baseImage, findEngine, variantImage } from "../local/images.ts";
import { freePorts } from "../local/ports.ts";
import type { InstanceSpec } from "../src/protocol/agent/instance.ts";
import { FakeControl } from "../test/support/fake-control.ts";
import { cpuMs, residentMb } from "./proxies.ts";
import { type BenchResult, resultOf, rounded } from "./result.ts";

const INSTANCES = 10;
/** Starting them is not what is measured. */
const SETTLE_MS = 5_000;
const APP = `require("node:http").createServer((q, s) => s.end("ok")).listen(process.env.PORT)`;
const ROOT = join(import.meta.dirname, "..");

interface Host {
  readonly runtime: Runtime;
  readonly image: string;
  readonly directory: string;
}
/** How it is started. */
interface Form {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}
interface Cost {
  readonly residentMb: number;
  readonly cpuPercent: number;
}

/** Memory in MB at its highest, CPU in percent of one core. */
export async function run(): Promise<BenchResult> {
  const quick = process.argv.includes("--quick");
  const seconds = Number(process.env.BENCH_AGENT_S ?? (quick ? 15 : 60));
  const directory = mkdtempSync(join(tmpdir(), "sluice-bench-agent-"));
  try {
    const host = await openHost(directory);
    const bundle = join(directory, "agent.mjs");
    await bundleAgent(bundle);
    const bundled = await measure(host, { args: [...NODE_FLAGS, bundle], env: {} }, seconds);
    const source = await measure(
      host,
      { args: [join(ROOT, "agent/bin.js")], env: { NODE_COMPILE_CACHE: join(directory, "compiled") } },
      seconds,
    );
    const figures = {
      runtime: host.runtime.name,
      instances: INSTANCES,
      windowS: seconds,
      ...bundled,
      sourceColdResidentMb: source.residentMb,
      sourceColdCpuPercent: source.cpuPercent,
    };
    return resultOf("agent", figures, { residentMb: { atMost: 90 }, cpuPercent: { atMost: 1 } });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function openHost(directory: string): Promise<Host> {
  const found = process.env.BENCH_RUNTIME === "process" ? undefined : await findEngine();
  if (found && "engine" in found) {
    const image = await variantImage(found.engine, {
      from: await baseImage(found.engine),
      tag: "sluice-bench:node",
    });
    return { runtime: createDockerRuntime({ host: "host-1" }), image, directory };
  }
  mkdirSync(join(directory, "root/app"), { recursive: true });
  const runtime = createProcessRuntime({
    root: join(directory, "root"),
    directory: join(directory, "state/processes"),
  });
  return { runtime, image: "file:app", directory };
}

async function measure(host: Host, form: Form, seconds: number): Promise<Cost> {
  const state = join(host.directory, "state");
  const control = await new FakeControl().open();
  const flags = ["run", "--state", state, "--url", control.url, "--runtime", host.runtime.name];
  const agent = spawn(
    process.execPath,
    [...form.args, ...flags, "--process-root", join(host.directory, "root")],
    {
      env: {
        ...process.env,
        NODE_COMPILE_CACHE: join(host.directory, "compiled"),
        SLUICE_ENROLL_TOKEN: "slu_bench",
      },
      stdio: ["ignore", "ignore", "ignore"],
    },
  );
  const instances = Array.from({ length: INSTANCES }, (_, n) => `bench-${n}`);
  try {
    const firstPort = await freePorts(INSTANCES);
    for (const [n, instance] of instances.entries()) {
      const spec = specOf({ instance, image: host.image, hostPort: firstPort + n });
      control.give({ id: instance, kind: "start", spec });
    }
    for (const instance of instances) {
      const { ok } = await control.result(instance);
      if (!ok)
        throw new Error(`${instance} did not start: ${JSON.stringify(await control.result(instance))}`);
    }
    await sleep(SETTLE_MS);
    return await costOf(agent, seconds);
  } finally {
    await ended(agent);
    for (const instance of instances) await host.runtime.stop(instance, 0);
    await control.close();
    rmSync(state, { recursive: true, force: true });
  }
}

async function costOf({ pid = 0 }: ChildProcess, seconds: number): Promise<Cost> {
  const from = { cpu: cpuMs(pid), at: performance.now() };
  let highestMb = 0;
  for (let second = 0; second < seconds; second += 1) {
    await sleep(1_000);
    highestMb = Math.max(highestMb, residentMb(pid));
  }
  const share = (cpuMs(pid) - from.cpu) / (performance.now() - from.at);
  return { residentMb: rounded(highestMb, 1), cpuPercent: rounded(100 * share) };
}

async function ended(agent: ChildProcess): Promise<void> {
  if (agent.exitCode !== null || agent.signalCode !== null) return;
  agent.kill("SIGTERM");
  await once(agent, "exit");
}

/** As a manifest without a word about health makes it. */
function specOf(over: Pick<InstanceSpec, "instance" | "image" | "hostPort">): InstanceSpec {
  const check = { path: "/", timeoutMs: 3_000, successes: 1 };
  return {
    release: "rel-1",
    version: "v1",
    app: "bench",
    environment: "production",
    fence: 1,
    slot: 0,
    containerPort: 3_000,
    command: ["node", "-e", APP],
    env: {},
    health: {
      startup: { ...check, intervalMs: 250, failures: 1, deadlineMs: 60_000 },
      readiness: { ...check, intervalMs: 5_000, failures: 3 },
      liveness: { ...check, intervalMs: 10_000, failures: 3 },
    },
    resources: {},
    logging: { maxSizeBytes: 10_000_000, maxFiles: 3 },
    stopGraceMs: 5_000,
    volumes: [],
    container: { readOnly: false, tmpfs: [], ulimits: {} },
    ...over,
  };
}
