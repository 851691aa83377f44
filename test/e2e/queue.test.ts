import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "redis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { hasRedis, type Redis, startRedis } from "../support/services/redis.ts";
import { type AppOptions, Installation } from "../support/stack/installation.ts";

/** A real queue under releases: each job is done once, by whichever release's worker, and none waits for good. */
const APP = "hello";
const RATE = 20;
const WORKER = join(import.meta.dirname, "../support/services/queue-worker.ts");
let sluice: Installation;
let redis: Redis;

const options = (url: string): AppOptions => ({
  replicas: 1,
  processes: {
    worker: {
      command: ["node", WORKER],
      replicas: 2,
      stopGrace: "10s",
      env: { REDIS_URL: url },
      health: { command: ["true"], interval: "1s" },
    },
  },
});

beforeAll(async () => {
  if (!hasRedis) return;
  redis = await startRedis();
  sluice = await Installation.start({ slots: 20 });
});
afterAll(async () => {
  await sluice?.close();
  await redis?.close();
});

test.runIf(hasRedis)(
  "each job of a queue is done exactly once while five releases come by",
  { timeout: 300_000 },
  async () => {
    const client = createClient({ url: redis.url });
    // Told by what it is asked.
    client.on("error", () => {});
    await client.connect();
    await client.xGroupCreate("jobs", "workers", "0", { MKSTREAM: true });
    await sluice.deploy(APP, options(redis.url), "v0");
    let isOver = false;
    let sent = 0;
    const producer = (async () => {
      for (
        const begun = Date.now();
        !isOver;
        await sleep(Math.max(0, begun + (sent * 1_000) / RATE - Date.now()))
      )
        await client.xAdd("jobs", "*", { job: String(sent++) });
    })();
    const begun = Date.now();
    for (let n = 1; n <= 5; n++) await sluice.deploy(APP, options(redis.url), `v${n}`);
    isOver = true;
    await producer;
    const ms = Date.now() - begun;
    while ((await client.hLen("done")) < sent) await sleep(100);
    const counts = Object.values(await client.hGetAll("done")).map(Number);
    const { pending } = await client.xPending("jobs", "workers");
    const releases = await client.sMembers("releases");
    console.info({
      ms,
      sent,
      done: counts.length,
      twice: counts.filter((count) => count !== 1).length,
      releases,
    });
    expect(counts).toHaveLength(sent);
    expect(counts.every((count) => count === 1)).toBe(true);
    expect(pending).toBe(0);
    expect(releases.toSorted()).toEqual(["v0", "v1", "v2", "v3", "v4", "v5"]);
    await client.close();
  },
);

const cli = (...args: string[]) => sluice.sluice(APP, options(redis.url), args);

test.runIf(hasRedis)(
  "a command runs in the live image: its output and its exit code are handed on",
  async () => {
    const script =
      "console.log(process.env.SLUICE_VERSION, process.env.PORT); console.error('beside'); process.exit(7)";
    const ran = await cli("run", "--", "node", "-e", script);
    // A plain process has one log for both of its streams.
    expect(ran).toMatchObject({ code: 7, stdout: "v5 undefined\nbeside\n" });
    expect(await cli("run", "--", "node", "-e", "0")).toMatchObject({ code: 0, stdout: "" });
    const listed = await cli("runs");
    expect(listed.stdout).toContain("failed");
    expect(listed.stdout).toMatch(/node -e 0 +done +0/);
  },
);

test.runIf(hasRedis)(
  "what is live is scaled and started anew with no request dropped",
  { timeout: 300_000 },
  async () => {
    const visitors = sluice.visit(APP);
    expect(await cli("scale", "worker=3")).toMatchObject({ code: 0 });
    const running = async () => (await sluice.running()).size;
    await expect.poll(running, { timeout: 90_000 }).toBeGreaterThanOrEqual(4);
    await expect.poll(async () => (await cli("status")).stdout).toMatch(/worker +3 of 3 healthy/);
    expect(await cli("scale", "nobody=3")).toMatchObject({ code: 1 });
    expect(await cli("restart")).toMatchObject({ code: 0 });
    const { environment } = await sluice.client.environments.get(APP, "production");
    expect(environment.live?.version).toBe("v5-restart");
    expect(await cli("scale", "web=2")).toMatchObject({ code: 0 });
    const { environment: scaled } = await sluice.client.environments.get(APP, "production");
    expect(scaled.live?.version).toBe("v5-web-2");
    const applied = await cli("apply", "--dry-run");
    expect(applied.stderr).toContain("environments.production.processes.worker.replicas (scaled): 3 → 2");
    await sluice.leave(visitors);
    expect(visitors.counts("there")).toMatchObject({ failed: 0, failures: [] });
  },
);
