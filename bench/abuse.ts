/**
 * One client's worst request of each kind, sent over real sockets to a real local control: what it costs control in CPU, in
 * memory held at the peak and in D1 queries, and how long until control answers an honest request again. CPU and memory are
 * those of the whole workerd, in which nothing else happens meanwhile.
 * With --quick once each, else three times, of which the worst is told.
 */
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { enroll } from "../agent/control/enroll.ts";
import { openHome } from "../local/home.ts";
import { startStack } from "../local/stack.ts";
import { Client } from "../src/client/index.ts";
import { DATABASE } from "./counting.ts";
import { cpuMs, residentMb } from "./proxies.ts";
import { type BenchResult, resultOf, rounded } from "./result.ts";

/** Counts statements on their way to D1. */
const COUNTING = `
import control from "./control.mjs";
export * from "./control.mjs";
const counts = { queries: 0 };
${DATABASE}export default {
  fetch(request, env, ctx) {
    if (new URL(request.url).pathname === "/counted") return Response.json(counts);
    return control.fetch(request, { ...env, DB: database(env.DB, counts) }, ctx);
  },
  scheduled: (controller, env, ctx) => control.scheduled(controller, env, ctx),
};`;

interface Target {
  readonly url: string;
  readonly token: string;
  readonly release: string;
}
interface Abuse {
  readonly name: string;
  send(target: Target): Promise<string>;
}
/** What one of them cost. */
interface Cost {
  readonly answer: string;
  readonly tookMs: number;
  readonly cpuMs: number;
  readonly memoryMb: number;
  readonly queries: number;
  readonly afterMs: number;
}

const MANIFEST = `app: shop
image: ghcr.io/acme/shop
port: 8080
environments: { production: { hostnames: [shop.example.com] } }
`;
const YAML = "application/yaml";
const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
const keys = (count: number, of: (n: number) => string) =>
  Array.from({ length: count }, (_, n) => of(n)).join("");
const bogus = (n: number) => `slu_${String(n).padStart(43, "0")}`;

const KINDS: readonly Abuse[] = [
  { name: "an honest request", send: (at) => get(at, "/api/v1/apps") },
  { name: "a body of 900 MB", send: (at) => endless(at, { declared: false }) },
  { name: "a body said to be 900 MB", send: (at) => endless(at, { declared: true }) },
  {
    name: "a manifest, 60,000 unknown keys",
    send: (at) => apply(at, MANIFEST + keys(60_000, (n) => `k${n}: 0\n`)),
  },
  {
    name: "a manifest, 6,000 unknown keys",
    send: (at) => apply(at, MANIFEST + keys(6_000, (n) => `k${n}: 0\n`)),
  },
  {
    name: "a manifest, 6,000 times one key",
    send: (at) => apply(at, MANIFEST + keys(6_000, () => "port: 1\n")),
  },
  { name: "a manifest nested 30,000 deep", send: (at) => apply(at, `${MANIFEST}x: ${nested(30_000)}\n`) },
  { name: "a manifest of aliases of aliases", send: (at) => apply(at, bomb()) },
  {
    name: "JSON nested 500,000 deep",
    send: (at) => post(at, "/agent/v1/poll", `{"protocol":1,"x":${nested(500_000)}}`),
  },
  {
    name: "JSON of 60,000 unknown keys",
    send: (at) => post(at, "/agent/v1/enroll", `{"protocol":1${keys(60_000, (n) => `,"k${n}":0`)}}`),
  },
  { name: "300 made-up tokens", send: tokens },
  { name: "header of 1 MB", send: (at) => get(at, "/api/v1/apps", { "x-a": "a".repeat(1 << 20) }) },
  {
    name: "10,000 headers",
    send: (at) =>
      raw(at, `GET /api/v1/apps HTTP/1.1\r\nhost: 127.0.0.1\r\n${keys(10_000, (n) => `x-${n}: a\r\n`)}\r\n`),
  },
  { name: "a path of 100 kB", send: (at) => get(at, `/api/v1/apps/${"a".repeat(100_000)}`) },
  { name: "a sender of 1 byte a second", send: slowSender },
  { name: "100 streams, none of them read", send: slowReaders },
];

export async function run(): Promise<BenchResult> {
  const times = process.argv.includes("--quick") ? 1 : 3;
  const directory = await mkdtemp(join(tmpdir(), "sluice-bench-abuse-"));
  const undo: (() => Promise<unknown>)[] = [() => rm(directory, { recursive: true, force: true })];
  try {
    const target = await openTarget(directory, undo);
    const costs = new Map<string, Cost>();
    for (const kind of KINDS) {
      let worst: Cost | undefined;
      for (let n = 0; n < times; n++) {
        const cost = await costOf(kind, target);
        if (!worst || cost.cpuMs > worst.cpuMs) worst = cost;
      }
      if (worst) costs.set(kind.name, worst);
    }
    printTable(costs);
    const all = [...costs.values()];
    const most = (of: (cost: Cost) => number) => rounded(Math.max(...all.map(of)), 0);
    const figures = {
      kinds: costs.size,
      mostCpuMs: most((cost) => cost.cpuMs),
      mostMemoryMb: most((cost) => cost.memoryMb),
      mostQueries: most((cost) => cost.queries),
      mostAfterMs: most((cost) => cost.afterMs),
    };
    const budgets = {
      mostCpuMs: { atMost: 3_000 },
      mostMemoryMb: { atMost: 128 },
      mostAfterMs: { atMost: 1_000 },
    };
    return resultOf("abuse", figures, budgets);
  } finally {
    for (const step of undo.reverse()) await step();
  }
}

async function openTarget(
  directory: string,
  undo: (() => Promise<unknown>)[],
): Promise<Target & { pid: number }> {
  const home = await openHome(join(directory, ".sluice"));
  const before = new Set(workerds());
  const stack = await startStack({
    ...{ stateDir: home.stateDir, edgePort: 0, controlPort: 0, version: "bench", around: COUNTING },
    ...{ adminTokenSha256: home.tokenSha256, secretsKey: home.secretsKey },
  });
  undo.push(() => stack.dispose());
  const pid = workerds().find((one) => !before.has(one));
  if (pid === undefined) throw new Error("no workerd of this benchmark's own");
  const client = new Client({ url: stack.controlUrl, token: home.token });
  await enrollHost(client, stack.controlUrl, join(directory, "host"));
  await client.apps.apply("shop", MANIFEST);
  const at = { app: "shop", environment: "production", idempotencyKey: "abuse" };
  // Its host never answers: for as long as this takes it waits, and its feed is open.
  const { id } = await client.releases.create(at, { image: `ghcr.io/acme/shop@sha256:${"a".repeat(64)}` });
  return { url: stack.controlUrl, token: home.token, release: id, pid };
}

/** A host that was heard once. */
async function enrollHost(client: Client, url: string, directory: string): Promise<void> {
  const made = await client.hosts.createEnrollment({
    name: "web-1",
    labels: {},
    slots: 4,
    expiresInMinutes: 5,
  });
  const { token } = await enroll({
    url,
    directory,
    token: made.token,
    runtime: "docker",
    portBase: 20_000,
    originBase: "http://127.0.0.1",
  });
  const poll = {
    protocol: 1,
    agentVersion: "0.1.0",
    clock: Date.now(),
    boot: "bench",
    wantsJobs: false,
    instances: [],
  };
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  await fetch(`${url}/agent/v1/poll`, { method: "POST", headers, body: JSON.stringify(poll) });
}

/** Children of this process that are workerd. */
function workerds(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
        return (
          stat.includes("(workerd)") &&
          stat.slice(stat.lastIndexOf(")")).split(" ")[2] === String(process.pid)
        );
      } catch {
        return false; // Ended meanwhile.
      }
    });
}

async function costOf({ send }: Abuse, target: Target & { pid: number }): Promise<Cost> {
  await sleep(200);
  const from = { cpu: cpuMs(target.pid), mb: residentMb(target.pid), queries: await counted(target) };
  let highest = from.mb;
  const watch = setInterval(() => {
    highest = Math.max(highest, residentMb(target.pid));
  }, 10);
  const start = performance.now();
  const answer = await send(target).catch(
    (error: unknown) => `no answer (${error instanceof Error ? error.message : error})`,
  );
  const tookMs = performance.now() - start;
  const honest = performance.now();
  const probe = await fetch(`${target.url}/live`);
  await probe.arrayBuffer();
  clearInterval(watch);
  return {
    ...{ answer, tookMs, afterMs: performance.now() - honest },
    cpuMs: cpuMs(target.pid) - from.cpu,
    memoryMb: highest - from.mb,
    queries: (await counted(target)) - from.queries,
  };
}

async function counted({ url }: Target): Promise<number> {
  const { queries } = (await (await fetch(`${url}/counted`)).json()) as { queries: number };
  return queries;
}

async function ask({ url, token }: Target, path: string, init: RequestInit): Promise<string> {
  const headers = { authorization: `Bearer ${token}`, ...(init.headers as Record<string, string>) };
  const answer = await fetch(`${url}${path}`, { ...init, headers, signal: AbortSignal.timeout(60_000) });
  await answer.arrayBuffer();
  return String(answer.status);
}

const get = (at: Target, path: string, headers: Record<string, string> = {}) => ask(at, path, { headers });
const post = (at: Target, path: string, body: string) =>
  ask(at, path, { method: "POST", body, headers: { "content-type": "application/json" } });
const apply = (at: Target, body: string) =>
  ask(at, "/api/v1/apps/shop?dryRun=1", { method: "PUT", body, headers: { "content-type": YAML } });

function bomb(): string {
  const row = (name: string, of: string) => `${name}: &${name} [${Array(9).fill(of).join(",")}]\n`;
  return ["x", "*a", "*b", "*c", "*d", "*e"].map((of, i) => row("abcdef"[i] ?? "", of)).join("");
}

/** Each is new to control, from one address. */
async function tokens(at: Target): Promise<string> {
  const statuses = new Map<string, number>();
  for (let n = 0; n < 300; n++) {
    const status = await ask({ ...at, token: bogus(n) }, "/api/v1/apps", {});
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
  }
  return [...statuses].map(([status, count]) => `${count} × ${status}`).join(", ");
}

/** What is sent back until control is done with it. */
function raw({ url }: Target, head: string, body?: (socket: net.Socket) => void): Promise<string> {
  const { hostname, port } = new URL(url);
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = net.connect(Number(port), hostname, () => {
    socket.write(head);
    body?.(socket);
  });
  socket.setTimeout(60_000, () => socket.destroy(new Error("no answer in a minute")));
  let said = "";
  socket.on("data", (data) => {
    said += data.toString("latin1");
    const status = /^HTTP\/1\.1 (\d+)/.exec(said)?.[1];
    if (status === undefined) return;
    resolve(status);
    socket.destroy();
  });
  socket.on("error", (error) => resolve(`cut off (${error.message})`));
  socket.on("close", () => resolve("cut off"));
  return promise;
}

function endless(at: Target, { declared }: { declared: boolean }): Promise<string> {
  const most = 900 << 20;
  const length = declared ? `content-length: ${most}` : "transfer-encoding: chunked";
  const block = Buffer.alloc(1 << 20, "a");
  const part = declared ? block : Buffer.concat([Buffer.from("100000\r\n"), block, Buffer.from("\r\n")]);
  let sent = 0;
  return raw(at, headOf(at, "PUT", length), (socket) => {
    const more = () => {
      while (!socket.destroyed && sent < most) {
        sent += block.length;
        if (!socket.write(part)) return;
      }
    };
    socket.on("drain", more);
    more();
  });
}

const headOf = ({ token }: Target, method: string, header: string) =>
  `${method} /api/v1/apps/shop HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${token}\r\ncontent-type: ${YAML}\r\n${header}\r\n\r\n`;

function slowSender(at: Target): Promise<string> {
  return raw(at, headOf(at, "PUT", "content-length: 1000"), (socket) => {
    const timer = setInterval(() => socket.write("#"), 1_000);
    socket.on("close", () => clearInterval(timer));
  });
}

/** Opens as many feeds as are let in, reads nothing of them for a while, and goes. */
async function slowReaders(at: Target): Promise<string> {
  const abort = new AbortController();
  const headers = { authorization: `Bearer ${at.token}`, accept: "text/event-stream" };
  const opened = Array.from({ length: 100 }, () =>
    fetch(`${at.url}/api/v1/releases/${at.release}/events`, { headers, signal: abort.signal }).then(
      ({ status }) => status,
    ),
  );
  const statuses = await Promise.all(opened);
  await sleep(5_000);
  abort.abort();
  const count = (wanted: number) => statuses.filter((status) => status === wanted).length;
  return [...new Set(statuses)].map((status) => `${count(status)} × ${status}`).join(", ");
}

function printTable(costs: ReadonlyMap<string, Cost>): void {
  console.error(
    "\n| one client sends | answer | after | CPU | memory | D1 queries | an honest request then |\n|---|---|---|---|---|---|---|",
  );
  for (const [name, { answer, tookMs, cpuMs, memoryMb, queries, afterMs }] of costs)
    console.error(
      `| ${name} | ${answer} | ${Math.round(tookMs)} ms | ${cpuMs} ms | ${Math.max(0, Math.round(memoryMb))} MB | ${queries} | ${Math.round(afterMs)} ms |`,
    );
}
