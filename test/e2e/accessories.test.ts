import { afterAll, beforeAll, expect } from "vitest";
import { z } from "zod";
import { baseImage, removeImages, variantImage } from "../../local/images.ts";
import { dockerTest, engine, theEngine } from "../support/engine/docker.ts";
import { ask } from "../support/http-client.ts";
import { type AppOptions, Installation } from "../support/stack/installation.ts";

/** An app and its key-value store with real parts: the store is there before, during and after every release. */
const APP = `kvapp${process.pid}`;
const TAG = (name: string) => `sluice-e2e-${process.pid}:${name}`;
const TAGS = ["kv-1", "kv-2", "kv-broken", "app"].map(TAG);

/** Counts in a file on its volume. */
const STORE = `
  const fs = require("node:fs");
  const read = () => (fs.existsSync("/data/hits") ? Number(fs.readFileSync("/data/hits", "utf8")) : 0);
  require("node:http").createServer((request, response) => {
    fs.writeFileSync("/data/hits", String(read() + 1));
    response.end(String(read()));
  }).listen(6380);`;
/** Asks the store by its name. */
const SHOP = `
  require("node:http").createServer(async (request, response) => {
    if (request.url === "/ready") return response.end();
    const hits = await fetch("http://kv:6380/").then((answer) => answer.text()).catch((error) => "no store: " + error.cause);
    response.end(JSON.stringify({ hits, version: process.env.SLUICE_VERSION }));
  }).listen(3000);`;
const cmd = (program: string) => [`CMD ${JSON.stringify(["node", "-e", program])}`];

let sluice: Installation;
const options = (store = TAG("kv-1")): AppOptions => ({
  image: TAG("app"),
  replicas: 1,
  staging: true,
  accessories: { kv: { image: store, volumes: ["hits:/data"], stopGrace: "2s" } },
});
const run = (args: readonly string[], store?: string) => sluice.sluice(APP, options(store), args);
const containerOf = (environment: string) => `sluice.acc-${APP}_${environment}_kv`;
const volumeOf = (environment: string) => `sluice-${APP}_${environment}_hits`;

const inspected = z.object({
  Id: z.string(),
  State: z.object({ Running: z.boolean(), StartedAt: z.string() }),
});
const store = (environment = "production") =>
  theEngine().json(inspected, "GET", `/containers/${containerOf(environment)}/json`);

async function visit(environment = "production"): Promise<{ hits: string; version: string }> {
  const host = `${environment === "production" ? "" : `${environment}-`}${APP}.localhost`;
  const answer = await ask({ port: Number(new URL(sluice.edgeUrl).port), host });
  expect(answer.status).toBe(200);
  const seen = JSON.parse(answer.text);
  expect(seen.hits).toMatch(/^\d+$/);
  return seen;
}

beforeAll(async () => {
  if (!engine) return;
  const from = await baseImage(engine);
  await variantImage(engine, { from, tag: TAG("kv-1"), lines: cmd(STORE) });
  await variantImage(engine, { from, tag: TAG("kv-2"), lines: cmd(STORE) });
  const gives = 'setTimeout(() => { console.error("unknown format of hits"); process.exit(9); }, 500)';
  await variantImage(engine, { from, tag: TAG("kv-broken"), lines: cmd(gives) });
  await variantImage(engine, { from, tag: TAG("app"), lines: cmd(SHOP) });
  sluice = await Installation.start({ hosts: 1, runtime: "docker" });
});

afterAll(async () => {
  await sluice?.close();
  if (!engine) return;
  for (const environment of ["production", "staging"]) {
    // A test that failed half-way may have left any of them away.
    const gone = (path: string) =>
      theEngine()
        .bytes("DELETE", path)
        .catch(() => {});
    for (const end of ["", ".before"]) await gone(`/containers/${containerOf(environment)}${end}?force=1`);
    await gone(`/volumes/${volumeOf(environment)}`);
    await gone(`/networks/sluice-${APP}_${environment}`);
  }
  await removeImages(engine, TAGS);
});

dockerTest("three deploys and a rollback leave the store as it was, and staging's is another", async () => {
  const applied = await run(["apply"]);
  expect(applied.stderr).toContain("accessory kv of production: is not started");
  for (const environment of ["production", "staging"]) {
    const started = await run(["accessory", "start", "kv", "-e", environment]);
    expect(started).toMatchObject({ code: 0 });
    expect(started.stderr).toContain(`${APP}/${environment} kv runs on web-1`);
  }
  const [before, beside] = [await store(), await store("staging")];
  let hits = 0;
  const seen = async () => {
    const answer = await visit();
    hits = Number(answer.hits);
    return answer.version;
  };
  for (const version of ["v1", "v2", "v3"]) {
    expect(await run(["deploy", "--version", version, "-e", "production"])).toMatchObject({ code: 0 });
    // Within the edge's staleness bound.
    await expect.poll(seen, { timeout: 90_000 }).toBe(version);
  }
  expect(await run(["rollback", "-e", "production"])).toMatchObject({ code: 0 });
  expect(Number((await visit()).hits)).toBe(hits + 1);
  expect(await run(["deploy", "--version", "s1", "-e", "staging"])).toMatchObject({ code: 0 });
  // Control looked once before the first visitor.
  expect(Number((await visit("staging")).hits)).toBeLessThan(hits);
  expect(await store()).toEqual(before);
  expect(await store("staging")).toEqual(beside);
  const status = await run(["status", "-e", "production"]);
  expect(status.stdout).toMatch(/accessories:\n {4}kv +running +web-1/);
});

dockerTest("an agent that is killed and comes back leaves it alone", async () => {
  const before = await store();
  await sluice.hosts[0]?.stop("SIGKILL");
  await sluice.hosts[0]?.start();
  await visit();
  expect(await store()).toEqual(before);
});

dockerTest("an upgrade keeps the data; one that fails is put back, and the app goes on with it", async () => {
  const hits = Number((await visit()).hits);
  const before = await store();
  expect(await run(["apply"], TAG("kv-2"))).toMatchObject({ code: 0 });
  expect((await run(["accessory", "list", "-e", "production"])).stdout).toContain(
    "differs from the manifest",
  );
  expect(await store()).toEqual(before);
  const upgraded = await run(["accessory", "upgrade", "kv", "--yes", "-e", "production"], TAG("kv-2"));
  expect(upgraded).toMatchObject({ code: 0 });
  const after = await store();
  expect(after.Id).not.toBe(before.Id);
  expect(Number((await visit()).hits)).toBe(hits + 1);

  await run(["apply"], TAG("kv-broken"));
  const failed = await run(["accessory", "upgrade", "kv", "--yes", "-e", "production"], TAG("kv-broken"));
  expect(failed).toMatchObject({ code: 3 });
  expect(failed.stderr).toContain("unknown format of hits");
  expect((await store()).Id).toBe(after.Id);
  expect(Number((await visit()).hits)).toBe(hits + 2);
});

dockerTest("it is removed on command only, and its volume outlives it", async () => {
  const removed = await run(["accessory", "remove", "kv", "--yes", "-e", "staging"]);
  expect(removed).toMatchObject({ code: 0 });
  expect(removed.stderr).toContain(`its volumes stay: ${volumeOf("staging")}`);
  await expect(store("staging")).rejects.toThrow(/no such container/i);
  expect(await theEngine().bytes("GET", `/volumes/${volumeOf("staging")}`)).toBeDefined();
});

const containers = z.array(z.object({ Names: z.array(z.string()) }));
const left = async () => {
  const query = { all: "1", filters: JSON.stringify({ label: [`sluice.app=${APP}`] }) };
  const found = await theEngine().json(containers, "GET", "/containers/json", { query });
  return found.flatMap(({ Names }) => Names);
};

dockerTest(
  "destroyed in the middle of a release, nothing is left of it but its volumes, and nobody is led anywhere",
  async () => {
    expect(await run(["deploy", "--version", "v9", "-e", "production", "--detach"])).toMatchObject({
      code: 0,
    });
    const name = `${APP}/production`;
    const [first, second] = await Promise.all(
      [1, 2].map(() => run(["destroy", "-e", "production", "--yes", name])),
    );
    expect([first?.code, second?.code]).toEqual([0, 0]);
    // Whoever was first heard of all that was there.
    expect(`${first?.stderr}${second?.stderr}`).toContain(
      `stays: the volume ${volumeOf("production")} on web-1`,
    );
    expect(first?.stderr).toContain(`${name} is gone`);
    const port = Number(new URL(sluice.edgeUrl).port);
    expect((await ask({ port, host: `${APP}.localhost` })).status).toBe(404);
    await expect(store()).rejects.toThrow(/no such container/i);
    // The other environment is no part of it.
    expect((await ask({ port, host: `staging-${APP}.localhost` })).status).toBe(200);
    expect(await run(["destroy", "--all", "--yes", APP])).toMatchObject({ code: 0 });
    expect(await left()).toEqual([]);
    expect(await theEngine().bytes("GET", `/volumes/${volumeOf("production")}`)).toBeDefined();
    const again = await run(["destroy", "--all", "--yes", APP]);
    expect([again.code, again.stderr]).toEqual([0, expect.stringContaining("nothing to destroy")]);
  },
);
