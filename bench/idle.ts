/**
 * What an idle host costs: D1 queries and Durable Object requests per hour at control, counted in a real local stack, and the
 * agent's own memory and CPU. The counted agent lives sixty times as fast, so that a minute is its hour; the measured one is the
 * bundle, as a process, at its own pace.
 * BENCH_IDLE_S: seconds of the window (120; with --quick 20).
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { runAgent } from "../agent/agent.ts";
import { type Clock, systemClock } from "../agent/clock.ts";
import { enroll } from "../agent/control/enroll.ts";
import type { Log } from "../agent/log.ts";
import { Policy } from "../agent/policy/policy.ts";
import { Secrets } from "../agent/redaction/secrets.ts";
import { createProcessRuntime } from "../agent/runtime/process/process.ts";
import { bundleAgent, NODE_FLAGS } from "../local/bundle-agent.ts";
import { openHome } from "../local/home.ts";
import { type Stack, startStack } from "../local/stack.ts";
import { Client } from "../src/client/index.ts";
import { DATABASE } from "./counting.ts";
import { cpuMs, residentMb } from "./proxies.ts";
import { type BenchResult, resultOf, rounded } from "./result.ts";

const TIMES_AS_FAST = 60;
/** Starting is not what is measured. */
const SETTLE_MS = 3_000;
const HOUR_MS = 3_600_000;

/** Counts what goes from control's Worker to D1 and to Durable Objects, for requests and for the sweep apart. */
const COUNTING = `
import control from "./control.mjs";
export * from "./control.mjs";
const none = () => ({ requests: 0, queries: 0, objects: 0 });
const counted = { agents: none(), sweep: none() };
${DATABASE}const objects = (namespace, counts) => through(namespace, (key, args, call) =>
  through(call(args), (_, given, ask) => { counts.objects += 1; return ask(given); }));
const around = (env, counts) => ({
  ...env,
  DB: database(env.DB, counts),
  HOST_LINK: objects(env.HOST_LINK, counts),
  METER: objects(env.METER, counts),
  COORDINATOR: objects(env.COORDINATOR, counts),
});
export default {
  fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    if (pathname === "/counted") return Response.json(counted);
    const counts = pathname.startsWith("/agent/") ? counted.agents : none();
    counts.requests += 1;
    return control.fetch(request, around(env, counts), ctx);
  },
  scheduled(controller, env, ctx) {
    counted.sweep.requests += 1;
    return control.scheduled(controller, around(env, counted.sweep), ctx);
  },
};`;

interface Counts {
  readonly requests: number;
  readonly queries: number;
  readonly objects: number;
}

export async function run(): Promise<BenchResult> {
  const quick = process.argv.includes("--quick");
  const seconds = Number(process.env.BENCH_IDLE_S ?? (quick ? 20 : 120));
  const directory = await mkdtemp(join(tmpdir(), "sluice-bench-idle-"));
  const undo: (() => Promise<unknown>)[] = [() => rm(directory, { recursive: true, force: true })];
  try {
    const { stack, client } = await openStack(directory, undo);
    const counted = await countHost(stack, { client, directory, seconds }, undo);
    const own = await measureAgent(stack, { client, directory, seconds }, undo);
    const figures = { windowS: seconds, timesAsFast: TIMES_AS_FAST, ...counted, ...own };
    return resultOf("idle", figures, {
      d1QueriesPerHostHour: { atMost: 60 },
      objectRequestsPerHostHour: { atMost: 60 },
      residentMb: { atMost: 90 },
      cpuPercent: { atMost: 1 },
    });
  } finally {
    for (const step of undo.reverse()) await step();
  }
}

type Undo = (() => Promise<unknown>)[];
interface Window {
  readonly client: Client;
  readonly directory: string;
  readonly seconds: number;
}

async function openStack(directory: string, undo: Undo) {
  const home = await openHome(join(directory, ".sluice"));
  const stack = await startStack({
    stateDir: home.stateDir,
    edgePort: 0,
    controlPort: 0,
    adminTokenSha256: home.tokenSha256,
    secretsKey: home.secretsKey,
    version: "bench",
    around: COUNTING,
  });
  undo.push(() => stack.dispose());
  return { stack, client: new Client({ url: stack.controlUrl, token: home.token }) };
}

async function countHost(stack: Stack, { client, directory, seconds }: Window, undo: Undo) {
  const { token } = await client.hosts.createEnrollment({ name: "counted" });
  const state = join(directory, "counted");
  const at = { url: stack.controlUrl, directory: state, portBase: 20_000, originBase: "http://127.0.0.1" };
  const credentials = await enroll({ ...at, token, runtime: "process" });
  await mkdir(join(state, "root"), { recursive: true });
  const runtime = createProcessRuntime({ root: join(state, "root"), directory: join(state, "processes") });
  const stop = new AbortController();
  const policy = new Policy({ file: undefined, runtime: runtime.name, directory: state });
  const agent = runAgent(
    { credentials, directory: state, runtime, policy, secrets: new Secrets(), log: quiet, clock: fast },
    stop.signal,
  );
  undo.push(async () => {
    stop.abort();
    await agent;
  });
  await sleep(SETTLE_MS);
  const [before, from] = [await countsOf(stack), performance.now()];
  await sleep(seconds * 1_000);
  const [after, hours] = [await countsOf(stack), (TIMES_AS_FAST * (performance.now() - from)) / HOUR_MS];
  const perHour = (key: keyof Counts) => rounded((after.agents[key] - before.agents[key]) / hours, 1);
  return {
    queriesToStart: before.agents.queries,
    objectRequestsToStart: before.agents.objects,
    pollsPerHostHour: perHour("requests"),
    d1QueriesPerHostHour: perHour("queries"),
    objectRequestsPerHostHour: perHour("objects"),
    sweepQueriesPerHour:
      after.sweep.requests > 0 ? (60 * after.sweep.queries) / after.sweep.requests : "no sweep",
  };
}

const countsOf = async (stack: Stack): Promise<{ agents: Counts; sweep: Counts }> =>
  (await fetch(`${stack.controlUrl}/counted`)).json() as Promise<{ agents: Counts; sweep: Counts }>;

const began = Date.now();
const fast: Clock = {
  now: () => began + (Date.now() - began) * TIMES_AS_FAST,
  monotonic: () => systemClock.monotonic() * TIMES_AS_FAST,
  sleep: (ms, signal) => systemClock.sleep(ms / TIMES_AS_FAST, signal),
};
const quiet: Log = { info: () => {}, warn: () => {}, error: () => {} };

async function measureAgent(stack: Stack, { client, directory, seconds }: Window, undo: Undo) {
  const bundle = join(directory, "agent.mjs");
  await bundleAgent(bundle);
  const { token } = await client.hosts.createEnrollment({ name: "measured" });
  const state = join(directory, "measured");
  await mkdir(join(state, "root"), { recursive: true });
  const flags = ["--url", stack.controlUrl, "--runtime", "process", "--origin-base", "http://127.0.0.1"];
  const child = spawn(
    process.execPath,
    [...NODE_FLAGS, bundle, "run", "--state", state, ...flags, "--process-root", join(state, "root")],
    { env: { ...process.env, SLUICE_ENROLL_TOKEN: token }, stdio: "ignore" },
  );
  undo.push(() => ended(child));
  await sleep(SETTLE_MS);
  const pid = child.pid ?? 0;
  const [cpu, from] = [cpuMs(pid), performance.now()];
  await sleep(seconds * 1_000);
  return {
    residentMb: rounded(residentMb(pid), 1),
    cpuPercent: rounded((100 * (cpuMs(pid) - cpu)) / (performance.now() - from), 3),
  };
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  await once(child, "exit");
}
