import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "redis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { baseImage, removeImages, variantImage } from "../../local/images.ts";
import { engine, theEngine } from "../support/engine/docker.ts";
import { hasRedis, type Redis, startRedis } from "../support/services/redis.ts";
import { type AppOptions, Installation } from "../support/stack/installation.ts";

/**
 * A real queue, workers, a singleton and a schedule in containers on two hosts, while releases of each strategy come by and things
 * fail. Long: `npm run zoo` only.
 */
const APP = `queueapp${process.pid}`;
const TAG = `sluice-e2e-${process.pid}:queue`;
const RATE = 20;
const zoo = process.env.ZOO ?? "";
const isWanted =
  engine !== undefined && hasRedis && ["all", "queue"].some((name) => zoo.split(",").includes(name));

/** Speaks to Redis without a library, since the image has none: commands as lists, answers as they nest. */
const PROGRAM = `
  const net = require("node:net");
  const { hostname, port } = new URL(process.env.REDIS_URL);
  const socket = net.connect(port, hostname);
  let text = ""; const waiting = [];
  const line = (at) => { const end = text.indexOf("\\r\\n", at); if (end < 0) throw 0; return [text.slice(at, end), end + 2]; };
  const parse = (at) => {
    const [head, next] = line(at); const rest = head.slice(1);
    if (head[0] === "+" || head[0] === ":" || head[0] === "-") return [rest, next];
    if (head[0] === "$") { if (rest === "-1") return [null, next]; const end = next + Number(rest); if (text.length < end + 2) throw 0; return [text.slice(next, end), end + 2]; }
    if (rest === "-1") return [null, next];
    const list = []; let place = next;
    for (let i = 0; i < Number(rest); i++) { const [item, after] = parse(place); list.push(item); place = after; }
    return [list, place];
  };
  socket.on("data", (data) => { text += data; try { while (text) { const [value, next] = parse(0); text = text.slice(next); waiting.shift()(value); } } catch (e) { if (e !== 0) throw e; } });
  const redis = (...words) => new Promise((resolve) => { waiting.push(resolve); socket.write("*" + words.length + "\\r\\n" + words.map((w) => "$" + Buffer.byteLength(String(w)) + "\\r\\n" + w + "\\r\\n").join("")); });
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  let over = false;
  process.on("SIGTERM", () => { over = process.env.DEAF !== "1"; });
  const me = process.env.SLUICE_INSTANCE;
  const works = {
    async worker() {
      await redis("SADD", "releases", process.env.SLUICE_VERSION);
      while (!over) {
        const [, left] = await redis("XAUTOCLAIM", "jobs", "workers", me, 2000, "0", "COUNT", 1);
        const read = await redis("XREADGROUP", "GROUP", "workers", me, "COUNT", 1, "BLOCK", 200, "STREAMS", "jobs", ">");
        for (const found of [...left, ...(read ? read[0][1] : [])]) {
          if (!found || !found[1]) continue;
          await sleep(60);
          await redis("MULTI"); await redis("HINCRBY", "done", found[1][1], 1); await redis("XACK", "jobs", "workers", found[0]); await redis("EXEC");
        }
      }
    },
    async beat() {
      if (Number(await redis("INCR", "beating")) !== 1) await redis("INCR", "beating-twice");
      while (!over) { await redis("INCR", "beats"); await sleep(100); }
      await redis("DECR", "beating");
    },
    async tick() { await redis("INCR", "ticks"); },
  };
  works[process.argv[1]]().then(() => process.exit(0));`;
const WEB =
  'require("node:http").createServer((_, response) => response.end(process.env.SLUICE_VERSION)).listen(3000)';
const process_ = (name: string) => ["node", "-e", PROGRAM, name];

let sluice: Installation;
let redis: Redis;
let url: string;

const options = (strategy: string | object, env: Record<string, string> = {}): AppOptions => ({
  image: TAG,
  replicas: 2,
  strategy,
  processes: {
    worker: {
      command: process_("worker"),
      replicas: 2,
      stopGrace: "3s",
      env: { REDIS_URL: url, ...env },
      health: { command: ["node", "-e", "0"], interval: "1s" },
    },
    beat: { command: process_("beat"), handover: "stop-first", stopGrace: "5s", env: { REDIS_URL: url } },
    tick: { command: process_("tick"), schedule: "* * * * * Europe/Berlin", env: { REDIS_URL: url } },
  },
});
const CANARY = {
  canary: { steps: [{ weight: 50, bake: "1s" }, { weight: 100 }], analysis: false },
};

beforeAll(async () => {
  if (!isWanted) return;
  const from = await baseImage(theEngine());
  await variantImage(theEngine(), { from, tag: TAG, lines: [`CMD ${JSON.stringify(["node", "-e", WEB])}`] });
  const networks = z.object({
    IPAM: z.object({ Config: z.array(z.object({ Gateway: z.string().optional() })) }),
  });
  const { IPAM } = await theEngine().json(networks, "GET", "/networks/bridge");
  const gateway = IPAM.Config[0]?.Gateway ?? "172.17.0.1";
  redis = await startRedis(gateway);
  url = `redis://${gateway}:${new URL(redis.url).port}`;
  sluice = await Installation.start({ hosts: 2, slots: 12, runtime: "docker" });
}, 120_000);
afterAll(async () => {
  await sluice?.close();
  await redis?.close();
  if (isWanted) await removeImages(theEngine(), [TAG]);
});

test.runIf(isWanted)(
  "on Docker each job is done once, a singleton never runs twice and a schedule fires once, whatever comes by",
  { timeout: 600_000 },
  async () => {
    const client = createClient({ url: redis.url });
    client.on("error", () => {});
    await client.connect();
    await client.xGroupCreate("jobs", "workers", "0", { MKSTREAM: true });
    await sluice.deploy(APP, options("blue-green"), "v0");
    const begun = Date.now();
    let isOver = false;
    let sent = 0;
    const producer = (async () => {
      for (; !isOver; await sleep(Math.max(0, begun + (sent * 1_000) / RATE - Date.now())))
        await client.xAdd("jobs", "*", { job: String(sent++) });
    })();
    const [first] = sluice.hosts;
    await sluice.deploy(APP, options("blue-green"), "v1");
    await sluice.deploy(APP, options("rolling"), "v2");
    await sluice.deploy(APP, options(CANARY), "v3");
    const back = await sluice.sluice(APP, options(CANARY), ["rollback"]);
    expect(back, back.stderr).toMatchObject({ code: 0 });
    await first?.stop("SIGKILL");
    await first?.start();
    // Workers that ignore SIGTERM; the next release has them killed after their grace.
    await sluice.deploy(APP, options("blue-green", { DEAF: "1" }), "v4");
    await sluice.killStack();
    await sleep(2_000);
    await sluice.reviveStack();
    await sluice.deploy(APP, options("blue-green"), "v5");
    // Over at least two full minutes, so that the schedule had its times.
    await sleep(Math.max(0, begun + 150_000 - Date.now()));
    isOver = true;
    await producer;
    for (const until = Date.now() + 30_000; (await client.hLen("done")) < sent && Date.now() < until; )
      await sleep(100);
    const counts = Object.values(await client.hGetAll("done")).map(Number);
    const { items } = await sluice.client.processes.runs(APP, "production", { process: "tick" });
    const due = items.map(({ dueAt }) => dueAt);
    const done = items.filter(({ state }) => state === "done").length;
    const figures = {
      seconds: Math.round((Date.now() - begun) / 1_000),
      sent,
      done: counts.length,
      twice: counts.filter((count) => count !== 1).length,
      beats: Number(await client.get("beats")),
      beatingTwice: Number(await client.get("beating-twice")),
      ticks: Number(await client.get("ticks")),
      runs: items.map(({ dueAt, state, missed, version }) => `${dueAt} ${state} ${version} missed ${missed}`),
      releases: (await client.sMembers("releases")).toSorted(),
    };
    console.info(figures);
    expect(figures).toMatchObject({ done: sent, twice: 0, beatingTwice: 0 });
    expect(new Set(due).size).toBe(due.length);
    expect(done).toBeGreaterThanOrEqual(2);
    expect(figures.ticks).toBe(done);
    expect(figures.releases).toEqual(expect.arrayContaining(["v0", "v1", "v2", "v3", "v4", "v5"]));
    const { stdout } = await sluice.sluice(APP, options("blue-green"), ["runs"]);
    expect(stdout).toContain("tick");
    await client.close();
  },
);
