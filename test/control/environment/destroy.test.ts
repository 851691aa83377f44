import { runDurableObjectAlarm } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { tableKey } from "../../../src/control/environment/publisher.ts";
import { apps } from "../../../src/control/store/schema/apps.ts";
import { environments } from "../../../src/control/store/schema/environments.ts";
import { events } from "../../../src/control/store/schema/events.ts";
import { hostnames } from "../../../src/control/store/schema/hostnames.ts";
import { jobs } from "../../../src/control/store/schema/jobs.ts";
import { secrets } from "../../../src/control/store/schema/secrets.ts";
import { sweep } from "../../../src/control/sweep.ts";
import { ENVIRONMENT, HOSTNAME, Stage } from "../support/stage.ts";

let stage: Stage;
beforeEach(async () => {
  vi.stubGlobal("fetch", async () => new Response("ok"));
  stage = await Stage.open();
  const value = { environmentId: ENVIRONMENT, name: "KEY", sealed: "x", keyId: "k1", version: 1 };
  await stage.db.insert(secrets).values({ ...value, updatedAt: 1, updatedBy: "admin" });
  await stage.db.insert(hostnames).values({ hostname: HOSTNAME, environmentId: ENVIRONMENT });
});
afterEach(() => void vi.unstubAllGlobals());

const environment = async () => (await stage.db.select().from(environments))[0];
const hook = async () => (await stage.jobs()).find(({ kind }) => kind === "run");
const destroy = () => stage.coordinator.destroy({ actor: "token:ann" });

/** Agents and alarm take turns until the environment is gone. */
async function untilGone(): Promise<void> {
  for (let turn = 0; turn < 40; turn++) {
    if ((await environment())?.deletedAt != null) return;
    await stage.work();
    stage.ahead += 60_000;
    await stage.inside(() => {});
    if (!(await runDurableObjectAlarm(stage.coordinator))) await stage.coordinator.poke();
  }
  throw new Error(`it never went: ${JSON.stringify((await stage.instances()).map(({ state }) => state))}`);
}

async function expectGone(): Promise<void> {
  expect(await environment()).toMatchObject({ name: `production~${ENVIRONMENT}` });
  expect((await stage.instances()).filter(({ stoppedAt }) => stoppedAt === null)).toEqual([]);
  expect(await stage.db.select().from(secrets)).toEqual([]);
  expect(await stage.db.select().from(hostnames)).toEqual([]);
  await stage.coordinator.poke();
  expect(await env.TABLES.get(tableKey(HOSTNAME))).toBeNull();
  expect((await stage.coordinator.table(HOSTNAME, null)).kind).toBe("unknown");
  const told = await stage.db.select().from(events).where(eq(events.type, "environment.destroyed"));
  expect(told).toHaveLength(1);
}

describe("an environment that is destroyed", () => {
  it("leads nobody anywhere from that moment on, drains what serves, and is gone with all it had", async () => {
    await stage.deploy();
    expect(await destroy()).toMatchObject({ ok: true });
    expect((await stage.coordinator.table(HOSTNAME, null)).kind).toBe("unknown");
    expect(new Set((await stage.instances()).map(({ state }) => state))).toEqual(new Set(["draining"]));
    await untilGone();
    await expectGone();
    const slots = (await stage.slots()).filter(({ restUntil }) => restUntil !== null);
    expect(slots.map((slot) => slot.environmentId)).toEqual([ENVIRONMENT, ENVIRONMENT]);
    stage.ahead += 16 * 60_000;
    await stage.inside(() => {});
    await stage.coordinator.poke();
    expect((await stage.slots()).every((slot) => slot.environmentId === null)).toBe(true);
  });

  it.each(["preparing", "starting", "verifying", "settling"] as const)(
    "ends a release that is %s first",
    async (state) => {
      await stage.deploy();
      if (state === "verifying") vi.stubGlobal("fetch", async () => new Response("", { status: 530 }));
      await stage.create();
      await stage.until("v2", state);
      expect(await destroy()).toMatchObject({ ok: true });
      const open = (await stage.jobs()).filter((job) => job.finishedAt === null && job.kind !== "stop");
      expect(open).toEqual([]);
      await untilGone();
      await expectGone();
    },
  );

  it("ends a canary in the middle of its split", async () => {
    stage = await Stage.open({
      strategy: {
        kind: "canary",
        steps: [{ kind: "weight", weightBp: 1_000, bakeMs: 600_000, match: null, mirrorBp: 0 }],
        analysis: { enabled: false },
      } as never,
    });
    await stage.deploy();
    await stage.create();
    await stage.until("v2", "shifting");
    expect(await destroy()).toMatchObject({ ok: true });
    expect((await stage.release("v2")).state).toBe("aborted");
    await untilGone();
  });

  it("remembers which volumes stay, though nothing is left that holds them", async () => {
    const volumes = [{ source: "data", target: "/data", readOnly: false }];
    stage = await Stage.open({ volumes });
    await stage.deploy();
    await destroy();
    await untilGone();
    const keeps = ["sluice-shop_production_data on anna", "sluice-shop_production_data on bert"];
    expect((await environment())?.ending).toMatchObject({ by: "token:ann", keeps });
    const [told] = await stage.db.select().from(events).where(eq(events.type, "environment.ending"));
    expect(told?.data).toEqual({ keeps });
  });

  it("is destroyed once, however often it is said", async () => {
    await stage.deploy();
    await destroy();
    const { rev } = (await environment()) ?? {};
    expect(await destroy()).toMatchObject({ ok: true });
    expect((await environment())?.rev).toBe(rev);
    await untilGone();
    expect(await destroy()).toMatchObject({ ok: false, error: { code: "not_found" } });
  });

  it("takes no release, no rollback, no lock and no weights any more", async () => {
    const first = await stage.deploy();
    await destroy();
    const refused = { ok: false, error: { code: "conflict" } };
    expect(await stage.create()).toMatchObject(refused);
    expect(await stage.coordinator.rollback({ to: null, actor: "a" })).toMatchObject(refused);
    expect(await stage.coordinator.lock({ actor: "a", reason: "r", expiresAt: 1 })).toMatchObject(refused);
    const split = { weights: { [first]: 10_000 }, actor: "a", seenRev: null };
    expect(await stage.coordinator.setWeights(split)).toMatchObject(refused);
  });

  it("waits for a hook that has begun, and no longer than its deadline: its data may be used again by then", async () => {
    stage = await Stage.open({ hooks: { expand: ["up"] } });
    await stage.create();
    for (let turn = 0; turn < 20 && !(await hook()); turn++) {
      await stage.work();
      await stage.coordinator.poke();
    }
    await stage.db.update(jobs).set({ state: "leased" }).where(eq(jobs.kind, "run"));
    expect(await destroy()).toMatchObject({ ok: true });
    await stage.coordinator.poke();
    expect([(await environment())?.deletedAt, (await hook())?.state]).toEqual([null, "leased"]);
    stage.ahead = ((await hook())?.deadlineAt ?? 0) - Date.now() + 31_000;
    await stage.inside(() => {});
    await stage.coordinator.poke();
    expect((await hook())?.state).toBe("cancelled");
    expect((await environment())?.deletedAt).not.toBeNull();
  });

  it("waits for a host that is away, and says so by staying", async () => {
    await stage.deploy();
    await destroy();
    stage.ahead += 120_000;
    await stage.inside(() => {});
    await stage.coordinator.poke();
    const stops = (await stage.jobs()).filter(({ kind }) => kind === "stop");
    expect(stops.map(({ state }) => state)).toEqual(["queued", "queued"]);
    expect((await environment())?.deletedAt).toBeNull();
    await untilGone();
  });
});

describe("an app that is destroyed", () => {
  it("goes with its last environment, though whoever asked died before they were told", async () => {
    await stage.deploy();
    await stage.db.update(apps).set({ ending: { at: 1, by: "admin" } });
    await sweep(env, Date.now());
    expect((await environment())?.ending).toMatchObject({ by: "admin" });
    await untilGone();
    expect((await stage.db.select().from(apps))[0]?.name).toBe("shop~app_1");
    expect((await stage.db.select().from(jobs)).filter(({ finishedAt }) => finishedAt === null)).toEqual([]);
  });
});
