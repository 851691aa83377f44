import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Load } from "../../local/load.ts";
import { type AppOptions, Installation } from "../support/stack/installation.ts";

/** Releases that meet one another, and an agent that dies: whoever visits gets whole answers all along. */
const APP = "hello";
/** Starts as soon as the gate is open, so that a release stays where a test needs it. */
const gated = (): AppOptions => ({
  command: ["sh", "-c", `until [ -e ${gate()} ]; do sleep 0.05; done; exec node main.ts`],
  deadline: "60s",
});
const gate = () => join(sluice.home.dir, "gate");
const open = () => writeFile(gate(), "");
let sluice: Installation;
let visitors: Load;

beforeAll(async () => {
  sluice = await Installation.start({ slots: 20 });
  await open();
  await sluice.deploy(APP, gated(), "v1");
  visitors = sluice.visit(APP);
});

afterEach(() => {
  const { requests, failed, failures } = visitors.counts("there");
  expect(requests).toBeGreaterThan(0);
  expect({ failed, failures }).toEqual({ failed: 0, failures: [] });
});

afterAll(() => sluice?.close());

const deploy = (version: string, ...flags: string[]) =>
  sluice.sluice(APP, gated(), ["deploy", "--version", version, ...flags]);

/** Begins a release that starts no further until the gate is opened. */
const begin = async (version: string) => {
  await rm(gate(), { force: true });
  expect(await deploy(version, "--detach")).toMatchObject({ code: 0 });
  return sluice.reaches(APP, version, ["starting"]);
};

const stateOf = async (version: string) => {
  const { items } = await sluice.client.releases.list(APP, "production");
  return items.find((release) => release.version === version)?.state;
};

test("a second deploy waits for the first, and both go live in turn", async () => {
  await begin("queue-1");
  const queued = deploy("queue-2");
  await sluice.reaches(APP, "queue-2", ["queued"]);
  await open();
  expect(await queued).toMatchObject({ code: 0 });
  const first = await sluice.reaches(APP, "queue-1", ["superseded"]);
  const second = await sluice.reaches(APP, "queue-2", ["settling", "live"]);
  expect(first.servingAt).not.toBeNull();
  expect(Date.parse(second.startedAt ?? "")).toBeGreaterThanOrEqual(Date.parse(first.servingAt ?? ""));
});

test("a second deploy that may not wait is refused with what to do, and the first goes on", async () => {
  await begin("reject-1");
  const ran = await deploy("reject-2", "--when-busy", "reject");
  expect(ran).toMatchObject({ code: 2 });
  expect(ran.stderr).toContain("--when-busy supersede");
  await open();
  await sluice.reaches(APP, "reject-1", ["settling", "live"]);
  expect(await stateOf("reject-2")).toBeUndefined();
});

test("a second deploy that replaces the first ends it before it gets traffic", async () => {
  await begin("replace-1");
  const replacing = deploy("replace-2", "--when-busy", "supersede");
  await sluice.reaches(APP, "replace-1", ["superseded"]);
  await open();
  expect(await replacing).toMatchObject({ code: 0 });
  await expect.poll(() => visitors.lastSeen("replace-2")).toBeDefined();
  expect(visitors.lastSeen("replace-1")).toBeUndefined();
});

test("the same Idempotency-Key is the same release, and with another body it is refused", async () => {
  const at = { app: APP, environment: "production", idempotencyKey: "build-4711" };
  const body = { version: "keyed" };
  const both = await Promise.all([1, 2].map(() => sluice.client.releases.create(at, body)));
  const again = await sluice.client.releases.create(at, body);
  expect(new Set([...both, again].map(({ id }) => id)).size).toBe(1);
  await expect(sluice.client.releases.create(at, { version: "other" })).rejects.toMatchObject({
    problem: { code: "idempotency_conflict", status: 422 },
  });
  expect(await stateOf("other")).toBeUndefined();
  await sluice.reaches(APP, "keyed", ["settling", "live"]);
});

test("an agent that is killed while it starts an instance takes it up again, and starts none twice", async () => {
  const { id } = await begin("adopted");
  const mine = async () =>
    [...(await sluice.running())].filter(([instance]) => instance.startsWith(id)).sort();
  await expect.poll(async () => (await mine()).length, { timeout: 90_000, interval: 25 }).toBe(2);
  const before = await mine();
  const [host] = sluice.hosts;
  await host?.stop("SIGKILL");
  expect(await stateOf("adopted")).toBe("starting");
  await host?.start();
  await open();
  await sluice.reaches(APP, "adopted", ["settling", "live"]);
  expect(await mine()).toEqual(before);
});

test("a host is emptied and taken out, and nobody who visits notices", async () => {
  await open();
  const on = async (host: string) => (await sluice.client.hosts.get(host)).instances;
  expect(await on("web-1")).not.toEqual([]);
  const ran = await sluice.sluice(APP, gated(), ["hosts", "drain", "web-1"]);
  expect(ran).toMatchObject({ code: 0 });
  expect(ran.stderr).toContain("web-1 is empty");
  expect(await on("web-1")).toEqual([]);
  const serving = (await on("web-2")).filter(({ state }) => state === "serving");
  expect(serving).toHaveLength(2);
  const refused = await sluice.sluice(APP, gated(), ["hosts", "drain", "web-2"]);
  expect(refused).toMatchObject({ code: 2 });
  expect(refused.stderr).toContain("would have nowhere to go");
  expect(await sluice.sluice(APP, gated(), ["hosts", "remove", "web-1", "--yes"])).toMatchObject({ code: 0 });
});
