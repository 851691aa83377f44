import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { parse, stringify } from "yaml";
import { Client } from "../src/client/index.ts";
import { sluice } from "./cli.ts";
import { type DemoPhase, printTable, summary } from "./demo-report.ts";
import { type Home, openHome } from "./home.ts";
import { chooseRuntime, LocalHost, type RuntimeName } from "./hosts.ts";
import { findEngine, helloImage, removeImages } from "./images.ts";
import { Load } from "./load.ts";
import { freePorts } from "./ports.ts";
import { type Stack, startStack } from "./stack.ts";

const HELP = `npm run demo -- [options]

A release takes over live traffic on this machine: control, edge and two hosts, a load generator, and what goes wrong.

  --runtime NAME   docker or process (default: docker when an engine answers)
  --rate N         requests per second (default 200)
  --json           the result as one JSON object on the last line
  --short          without the canaries and the rolling release
  --keep           leave everything running and print the addresses
`;

const EXAMPLE = join(import.meta.dirname, "../examples/hello/sluice.yaml");
const HOSTNAME = "hello.localhost";
const VERSIONS = ["v1", "v2", "v3", "v4", "v5", "v6"] as const;
/** Its own, since two demos may run on one engine, and each removes its images. */
const IMAGE = `sluice-demo-${process.pid}`;
const TAG = (version: string) => `${IMAGE}:${version}`;
const PORTS_PER_HOST = 8;
/** Of all phases. */
let failedGets = 0;
/** After a switch, how long its effect is watched. */
const WATCH_MS = 1_000;

const { values: flags } = parseArgs({
  options: {
    help: { type: "boolean", short: "h" },
    runtime: { type: "string" },
    rate: { type: "string", default: "200" },
    json: { type: "boolean", default: false },
    short: { type: "boolean", default: false },
    keep: { type: "boolean", default: false },
  },
});
if (flags.help) {
  console.log(HELP);
  process.exit(0);
}

const say = (text: string) => console.error(text);
/** What has to be undone, last thing first. */
const undo: (() => Promise<unknown>)[] = [];
const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => interrupted.abort());

async function main(): Promise<number> {
  try {
    return await demo();
  } catch (error) {
    if (interrupted.signal.aborted) {
      say("\ninterrupted: cleaning up");
      return 130;
    }
    say(`\nthe demo failed: ${error instanceof Error ? (error.stack ?? error.message) : error}`);
    return 1;
  } finally {
    for (const step of undo.reverse()) {
      await step().catch((error) => say(`cleaning up: ${error instanceof Error ? error.message : error}`));
    }
  }
}

interface World {
  readonly home: Home;
  readonly stack: Stack;
  readonly client: Client;
  readonly hosts: readonly LocalHost[];
  readonly runtime: RuntimeName;
  readonly load: Load;
}

async function demo(): Promise<number> {
  const world = await prepare();
  const phases: DemoPhase[] = [];
  await apply(world, {});
  phases.push(await deploy(world, "deploy v1", "v1", { exit: 0, budgetMs: 30_000 }));
  world.load.start();
  undo.push(() => world.load.stop());
  await sleep(WATCH_MS, undefined, { signal: interrupted.signal });
  phases.push(await deploy(world, "deploy v2 (blue-green)", "v2", { exit: 0, budgetMs: 30_000 }));
  await apply(world, { env: { READY: "fail" }, deadline: "4s" });
  phases.push(await deploy(world, "deploy v3 (never healthy)", "v3", { exit: 3, budgetMs: 30_000 }));
  await apply(world, {});
  phases.push(await rollBack(world));
  phases.push(await killAgent(world));
  if (!flags.short) phases.push(...(await progressive(world)));
  say("");
  printTable(phases);
  const result = summary(phases, world.runtime);
  if (flags.keep && !interrupted.signal.aborted) await keep(world);
  if (flags.json) console.log(JSON.stringify(result));
  return result.ok ? 0 : 1;
}

// --- setting up -----------------------------------------------------------------------------------------------------

async function prepare(): Promise<World> {
  const dir = await mkdtemp(join(tmpdir(), "sluice-demo-"));
  undo.push(() => rm(dir, { recursive: true, force: true }));
  const { runtime, why } = await chooseRuntime(flags.runtime);
  say(`runtime: ${runtime} (${why})`);
  if (runtime === "docker") await buildImages();
  const home = await openHome(join(dir, ".sluice"));
  const base = await freePorts(2 * PORTS_PER_HOST);
  const stack = await startStack({
    stateDir: home.stateDir,
    edgePort: 0,
    controlPort: 0,
    adminTokenSha256: home.tokenSha256,
    secretsKey: home.secretsKey,
    version: "demo",
    slotPorts: { first: base, count: 2 * PORTS_PER_HOST },
  });
  undo.push(() => stack.dispose());
  await home.announce(stack.controlUrl, stack.edgeUrl);
  say(`control: ${stack.controlUrl}   edge: ${stack.edgeUrl} (Host: ${HOSTNAME})`);
  const client = new Client({ url: stack.controlUrl, token: home.token, signal: interrupted.signal });
  const hosts = await Promise.all([startHost("web-1", base), startHost("web-2", base + PORTS_PER_HOST)]);
  say(`hosts: ${hosts.map((host) => host.name).join(", ")} enrolled\n`);
  const load = new Load({
    edgeUrl: stack.edgeUrl,
    hostname: HOSTNAME,
    rate: Number(flags.rate),
    onFailure: (_phase, failure) => {
      if (failure.startsWith("GET ")) failedGets += 1;
    },
  });
  return { home, stack, client, hosts, runtime, load };

  async function startHost(name: string, portBase: number): Promise<LocalHost> {
    const host = new LocalHost({
      name,
      client,
      controlUrl: stack.controlUrl,
      dir: home.agentDir(name),
      runtime,
      portBase,
      slots: PORTS_PER_HOST,
      labels: { tier: "web" },
      processRoot: join(import.meta.dirname, "../examples"),
      log: "nowhere",
    });
    undo.push(async () => {
      await host.stop();
      await host.removeInstances();
    });
    await host.start();
    return host;
  }
}

async function buildImages(): Promise<void> {
  const found = await findEngine();
  if (!("engine" in found)) throw new Error(found.reason);
  say("building examples/hello as three images");
  undo.push(() => removeImages(found.engine, VERSIONS.map(TAG)));
  for (const version of VERSIONS) await helloImage(found.engine, { tag: TAG(version) });
}

interface Variation {
  readonly env?: Record<string, string>;
  /** Of the startup check. */
  readonly deadline?: string;
  readonly strategy?: unknown;
}

/** The example's manifest with this demo's image and variations, applied by the real CLI. */
async function apply(
  world: World,
  { env = {}, deadline = "30s", strategy = "blue-green" }: Variation,
): Promise<void> {
  const manifest = parse(await readFile(EXAMPLE, "utf8"));
  manifest.image = world.runtime === "process" ? "file:hello" : IMAGE;
  manifest.env = { ...manifest.env, ...env };
  manifest.health.startup.deadline = deadline;
  manifest.environments.production.hosts = { tier: "web" };
  manifest.environments.production.strategy = strategy;
  await writeFile(manifestFile(world), stringify(manifest));
  const { code } = await cli(world, ["apply"]);
  if (code !== 0) throw new Error(`sluice apply ended with code ${code}`);
}

function manifestFile(world: World): string {
  return join(world.home.dir, "sluice.yaml");
}

function cli(world: World, args: readonly string[]) {
  say(`\n$ sluice ${args.join(" ")}`);
  return sluice([...args, "-f", manifestFile(world), "--json"], {
    home: world.home,
    signal: interrupted.signal,
  });
}

// --- the phases -----------------------------------------------------------------------------------------------------

async function deploy(
  world: World,
  phase: string,
  version: (typeof VERSIONS)[number],
  expected: { readonly exit: number; readonly budgetMs: number },
): Promise<DemoPhase> {
  world.load.phase(phase);
  const image = world.runtime === "process" ? "file:hello" : TAG(version);
  const run = await cli(world, ["deploy", "--image", image, "--version", version]);
  await sleep(WATCH_MS, undefined, { signal: interrupted.signal });
  const { items } = await world.client.releases.list("hello", "production", { limit: 1 });
  const [release] = items;
  const toFullMs = release?.servingAt ? Date.parse(release.servingAt) - Date.parse(release.createdAt) : null;
  return {
    phase,
    ...world.load.counts(phase),
    ms: toFullMs ?? run.ms,
    budgetMs: expected.budgetMs,
    note:
      toFullMs === null
        ? `refused: ${release?.failure?.code}, traffic unchanged`
        : "until it had all traffic",
    error:
      run.code === expected.exit ? null : `sluice deploy ended with code ${run.code}, not ${expected.exit}`,
  };
}

/** Short bakes, so that nobody has to wait a quarter of an hour for a demo; the judge is as strict as ever. */
const CANARY = {
  canary: {
    steps: [{ weight: 20, bake: "5s" }, { weight: 50, bake: "5s" }, { weight: 100 }],
    analysis: { maxWait: "60s" },
  },
};

async function progressive(world: World): Promise<DemoPhase[]> {
  await apply(world, { strategy: CANARY });
  const good = await deploy(world, "canary v4 (good)", "v4", { exit: 0, budgetMs: 120_000 });
  await apply(world, { strategy: CANARY, env: { ERROR_RATE: "0.2" } });
  const bad = await badCanary(world);
  await apply(world, { strategy: { rolling: { maxSurge: 1, maxUnavailable: 0 } } });
  const rolling = await deploy(world, "rolling v6 (both hosts)", "v6", { exit: 0, budgetMs: 60_000 });
  return [good, bad, rolling];
}

/** A canary with 20 % errors: how soon it was gone. Its GETs are answered by stable, so only POSTs can have met one. */
async function badCanary(world: World): Promise<DemoPhase> {
  const phase = "canary v5 (20 % errors)";
  const before = failedGets;
  const deployed = await deploy(world, phase, "v5", { exit: 3, budgetMs: 60_000 });
  const goneAfterMs = (world.load.lastSeen("v5") ?? 0) - (world.load.firstSeen("v5") ?? 0);
  return {
    ...deployed,
    ms: goneAfterMs,
    budgetMs: 60_000,
    harm: "expected",
    note: `rolled back by analysis; ${deployed.failed} POSTs failed because of v5, and no GET: stable answered those`,
    error:
      deployed.error ?? (failedGets > before ? `${failedGets - before} GETs failed because of v5` : null),
  };
}

async function rollBack(world: World): Promise<DemoPhase> {
  const phase = "rollback v2 → v1";
  world.load.phase(phase);
  const began = Date.now();
  const run = await cli(world, ["rollback"]);
  await sleep(WATCH_MS, undefined, { signal: interrupted.signal });
  const last = world.load.lastSeen("v2") ?? began;
  return {
    phase,
    ...world.load.counts(phase),
    ms: Math.max(0, last - began),
    budgetMs: 2_500,
    note: "from the command to v2's last answer",
    error: run.code === 0 ? null : `sluice rollback ended with code ${run.code}`,
  };
}

async function killAgent(world: World): Promise<DemoPhase> {
  const phase = "kill and restart an agent";
  world.load.phase(phase);
  const [host] = world.hosts;
  if (!host) throw new Error("no host");
  say(`\nkilling the agent of ${host.name} (SIGKILL), its containers go on`);
  const { environment } = await world.client.environments.get("hello", "production");
  const serving = environment.instances.filter(
    ({ host: name, state }) => name === host.name && state === "serving",
  );
  const before = await host.running();
  await host.stop("SIGKILL");
  await sleep(WATCH_MS, undefined, { signal: interrupted.signal });
  const began = Date.now();
  await host.start();
  const ms = Date.now() - began;
  say(`the agent of ${host.name} is back`);
  await sleep(WATCH_MS, undefined, { signal: interrupted.signal });
  const after = await host.running();
  const same = serving.every(({ id }) => before.has(id) && before.get(id) === after.get(id));
  return {
    phase,
    ...world.load.counts(phase),
    ms,
    budgetMs: 10_000,
    note: `until it is back; ${serving.length} serving instance adopted`,
    error: same ? null : "the agent did not adopt the containers that ran",
  };
}

async function keep(world: World): Promise<void> {
  await world.load.stop();
  say(`
Everything keeps running. Ctrl-C ends it and removes all of it.

  app    curl -H 'Host: ${HOSTNAME}' ${world.stack.edgeUrl}/
  API    ${world.stack.controlUrl}/api/docs
  CLI    export SLUICE_URL=${world.stack.controlUrl} SLUICE_TOKEN=${world.home.token}
         npx sluice status -f ${manifestFile(world)}
`);
  await new Promise((resolve) => interrupted.signal.addEventListener("abort", resolve));
}

// Last, when everything above is there.
process.exitCode = await main();
