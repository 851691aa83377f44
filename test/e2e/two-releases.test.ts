import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { Load } from "../../local/load.ts";
import { type AppOptions, Installation } from "../support/installation.ts";

/** Releases that meet one another, and agents that die: whoever visits sees whole answers all along. */
const SLOW: AppOptions = { env: { BOOT_MS: "2500" } };
let sluice: Installation;
let app: string;
let count = 0;

beforeAll(async () => {
  sluice = await Installation.start({ slots: 20 });
});

afterAll(() => sluice?.close());

beforeEach(() => {
  count += 1;
  app = `hello-${count}`;
});

/** v1 live, somebody visiting it; and after `work` nobody was turned away. */
async function underLoad(work: (visitors: Load) => Promise<void>): Promise<void> {
  await sluice.deploy(app, {}, "v1");
  const visitors = sluice.visit(app);
  await work(visitors);
  await sluice.leave(visitors);
  const { requests, failures } = visitors.counts("there");
  expect(requests).toBeGreaterThan(0);
  expect(failures).toEqual([]);
}

const begin = async (version: string) => {
  const ran = await sluice.sluice(app, SLOW, ["deploy", "--apply", "--version", version, "--detach"]);
  expect(ran).toMatchObject({ code: 0 });
};

const state = async (version: string) => {
  const { items } = await sluice.client.releases(app, "production");
  return items.find((release) => release.version === version)?.state;
};

test("a second deploy waits for the first, and both go live in turn", async () => {
  await underLoad(async () => {
    await begin("v2");
    const ran = await sluice.sluice(app, SLOW, ["deploy", "--version", "v3"]);
    expect(ran).toMatchObject({ code: 0 });
    const [v2, v3] = [
      await sluice.reaches(app, "v2", ["superseded"]),
      await sluice.reaches(app, "v3", ["settling", "live"]),
    ];
    expect(v2.servingAt).not.toBeNull();
    expect(Date.parse(v3.startedAt ?? "")).toBeGreaterThanOrEqual(Date.parse(v2.servingAt ?? ""));
  });
});

test("a second deploy that may not wait is refused with what to do, and the first goes on", async () => {
  await underLoad(async () => {
    await begin("v2");
    const ran = await sluice.sluice(app, SLOW, ["deploy", "--version", "v3", "--when-busy", "reject"]);
    expect(ran).toMatchObject({ code: 2 });
    expect(ran.stderr).toContain("--when-busy supersede");
    await sluice.reaches(app, "v2", ["settling", "live"]);
    expect(await state("v3")).toBeUndefined();
  });
});

test("a second deploy that replaces the first ends it before it gets traffic", async () => {
  await underLoad(async (visitors) => {
    await begin("v2");
    await sluice.reaches(app, "v2", ["starting"]);
    const ran = await sluice.sluice(app, SLOW, ["deploy", "--version", "v3", "--when-busy", "supersede"]);
    expect(ran).toMatchObject({ code: 0 });
    expect(await state("v2")).toBe("superseded");
    expect(visitors.lastSeen("v2")).toBeUndefined();
    await expect.poll(() => visitors.lastSeen("v3")).toBeDefined();
  });
});

test("the same Idempotency-Key is the same release, and with another body it is refused", async () => {
  await sluice.deploy(app, {}, "v1");
  const at = { app, environment: "production", idempotencyKey: "build-4711" };
  const both = await Promise.all([1, 2].map(() => sluice.client.createRelease(at, { version: "v2" })));
  const again = await sluice.client.createRelease(at, { version: "v2" });
  expect(new Set([...both, again].map(({ id }) => id)).size).toBe(1);
  await expect(sluice.client.createRelease(at, { version: "v3" })).rejects.toMatchObject({
    problem: { code: "idempotency_conflict", status: 422 },
  });
  const { items } = await sluice.client.releases(app, "production");
  expect(items.map(({ version }) => version).sort()).toEqual(["v1", "v2"]);
  await sluice.reaches(app, "v2", ["settling", "live"]);
});

test("an agent that is killed while it starts an instance takes it up again, and starts none twice", async () => {
  await underLoad(async () => {
    const [host] = sluice.hosts;
    await begin("v2");
    const { id } = await sluice.reaches(app, "v2", ["starting"]);
    const mine = async () => [...(await sluice.running())].filter(([instance]) => instance.startsWith(id));
    await expect.poll(async () => (await mine()).length, { timeout: 10_000 }).toBe(2);
    const before = await mine();
    await host?.stop("SIGKILL");
    await host?.start();
    await sluice.reaches(app, "v2", ["settling", "live"]);
    expect(await mine()).toEqual(before);
  });
});
