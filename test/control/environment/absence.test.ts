import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { tableKey } from "../../../src/control/environment/publisher.ts";
import { environments } from "../../../src/control/store/schema/environments.ts";
import { hosts } from "../../../src/control/store/schema/hosts.ts";
import { instances } from "../../../src/control/store/schema/instances.ts";
import { jobs } from "../../../src/control/store/schema/jobs.ts";
import { releases } from "../../../src/control/store/schema/releases.ts";
import { noteSweep } from "../../../src/control/store/upkeep/clock.ts";
import { ENVIRONMENT, HOSTNAME, Stage } from "../support/stage.ts";

let stage: Stage;
beforeEach(async () => {
  vi.stubGlobal("fetch", async () => new Response("ok"));
  stage = await Stage.open();
});
afterEach(() => void vi.unstubAllGlobals());

/** v1 serves, v2 is starting; then control is gone for so long, while the agents end what they began. */
async function awayWhileStarting(ms: number): Promise<void> {
  stage.at = Date.now();
  await stage.deploy();
  await stage.create();
  await stage.until("v2", "starting");
  await stage.inside(() => {});
  await stage.coordinator.poke();
  stage.wasAway = true;
  stage.at += ms;
}
const tick = () => stage.inside((coordinator) => coordinator.alarm());
const hostsSeen = (lastSeenAt: number) => stage.db.update(hosts).set({ lastSeenAt });

describe("control that was away", () => {
  it("fails no release for a deadline that passed meanwhile: what ran out gets its time again", async () => {
    await awayWhileStarting(3_600_000);
    await hostsSeen(Date.now());
    await tick();
    const release = await stage.release("v2");
    expect(release.state).toBe("starting");
    expect(release.deadlineAt).toBeGreaterThan(stage.at ?? 0);
    const open = (await stage.jobs()).filter(({ finishedAt }) => finishedAt === null);
    expect(open.every(({ deadlineAt }) => deadlineAt > (stage.at ?? 0))).toBe(true);
    // The agents come back with what they did, and the release goes on.
    await hostsSeen((stage.at ?? 0) + 1);
    stage.wasAway = false;
    await stage.until("v2", "settling");
  });

  it("judges nothing until each agent was heard, and waits for a dead one no longer than 40 s", async () => {
    await awayWhileStarting(60_000);
    await hostsSeen(Date.now());
    await tick();
    // A failure that is there already waits, too: another agent may have more to say.
    await stage.db
      .update(jobs)
      .set({ state: "failed", error: { code: "exited", message: "gone", logs: [] }, finishedAt: Date.now() })
      .where(eq(jobs.kind, "start"));
    stage.at = (stage.at ?? 0) + 1_000;
    await tick();
    expect((await stage.release("v2")).state).toBe("starting");
    stage.wasAway = false;
    stage.at += 40_000;
    await tick();
    expect((await stage.release("v2")).state).toBe("failed");
  });

  it("notices no absence in a clock that goes on as it should", async () => {
    await awayWhileStarting(20_000);
    await tick();
    const { deadlineAt } = await stage.release("v2");
    expect(deadlineAt).toBeLessThan((stage.at ?? 0) + 120_000);
  });

  it("calls no host silent for longer than it has been there to hear it", async () => {
    stage.at = Date.now();
    await stage.deploy();
    await noteSweep(stage.db, stage.at);
    await hostsSeen(stage.at);
    stage.at += 600_000;
    await stage.inside(() => {});
    await stage.coordinator.poke();
    const ready = async () => (await stage.table()).releases[0]?.instances.map((one) => one.ready);
    expect(await ready()).toEqual([true, true]);
    // Back for two minutes, and one of the two still says nothing.
    await noteSweep(stage.db, stage.at);
    await noteSweep(stage.db, stage.at + 60_000);
    await noteSweep(stage.db, stage.at + 120_000);
    stage.at += 120_000;
    await stage.db.update(hosts).set({ lastSeenAt: stage.at }).where(eq(hosts.name, "bert"));
    await stage.inside(() => {});
    await stage.coordinator.poke();
    expect(await ready()).toEqual([false, true]);
  });
});

describe("the fence", () => {
  it("stays above what agents have seen when D1 is set back to an earlier hour", async () => {
    await stage.deploy();
    await stage.create();
    await stage.until("v2", "settling");
    await stage.db.update(environments).set({ fence: 0 });
    await stage.coordinator.poke();
    const fence = async () => (await stage.db.select().from(environments))[0]?.fence;
    expect(await fence()).toBe(3);
    await stage.create();
    await stage.until("v3", "starting");
    expect(await fence()).toBe(4);
  });
});

describe("a rollback's target", () => {
  it("is found however many failed deploys came after it", async () => {
    await stage.deploy();
    await stage.deploy();
    const [v1] = await stage.releases();
    if (!v1) throw new Error("v1 is there");
    const old = { ...v1, state: "failed", servingAt: null, weightBp: 0, warmUntil: null } as const;
    for (let n = 0; n < 60; n++) {
      const createdAt = Date.now() + 1_000 + n;
      await stage.db.insert(releases).values({
        ...old,
        id: `rel_f${n}`,
        version: `f${n}`,
        requestKey: null,
        createdAt,
        endedAt: createdAt,
      });
    }
    const done = await stage.coordinator.rollback({ to: null, actor: "token:ci" });
    expect(done).toMatchObject({ ok: true, value: { to: v1.id } });
  });

  it("is found by name, however old it is", async () => {
    await stage.deploy();
    const [v1] = await stage.releases();
    if (!v1) throw new Error("v1 is there");
    for (let n = 0; n < 70; n++) {
      const createdAt = v1.createdAt - 1_000 - n;
      await stage.db.insert(releases).values({
        ...v1,
        ...{ id: `rel_o${n}`, version: `o${n}`, requestKey: null, state: "superseded", weightBp: 0 },
        ...{ createdAt, servingAt: createdAt, endedAt: createdAt },
      });
    }
    const done = await stage.coordinator.rollback({ to: "o69", actor: "token:ci" });
    expect(done).toMatchObject({ ok: true, value: { how: "restart", to: "rel_o69" } });
  });
});

describe("a release with more open jobs than D1 binds values", () => {
  it("can be aborted", async () => {
    const made = await stage.create();
    if (!made.ok) throw new Error(made.error.detail);
    await stage.until("v1", "preparing");
    const [pull] = await stage.jobs();
    if (!pull) throw new Error("a pull is open");
    for (let n = 0; n < 130; n++)
      await stage.db.insert(jobs).values({ ...pull, id: `pull-x-${n}`, state: "queued", finishedAt: null });
    const done = await stage.coordinator.abort({
      release: made.value.release,
      actor: "token:ci",
      reason: null,
    });
    expect(done).toMatchObject({ ok: true });
    expect((await stage.jobs()).filter(({ finishedAt }) => finishedAt === null)).toEqual([]);
  });
});

describe("a slot", () => {
  it("rests after its last instance, and goes back to the pool when no copy names it", async () => {
    stage.at = Date.now();
    const first = await stage.deploy();
    const [one] = await stage.instances();
    if (!one) throw new Error("an instance is there");
    await stage.db.update(instances).set({ state: "stopping" }).where(eq(instances.releaseId, first));
    // Nothing is to take their place.
    await stage.db.update(releases).set({ weightBp: 0, state: "superseded", endedAt: 1, warmUntil: 1 });
    await stage.db.insert(jobs).values(
      (await stage.instances()).map(({ id, hostId }) => ({
        ...{
          id: `stop-${id}-1`,
          kind: "stop" as const,
          hostId,
          environmentId: ENVIRONMENT,
          releaseId: first,
        },
        ...{ instanceId: id, fence: 1, payload: {}, state: "done" as const, attempts: 1, deadlineAt: 0 },
        ...{ createdAt: 0, finishedAt: 1 },
      })),
    );
    await stage.inside(() => {});
    await stage.coordinator.poke();
    const slot = async () => (await stage.slots()).find(({ id }) => id === one.slotId);
    expect(await slot()).toMatchObject({ environmentId: ENVIRONMENT, restUntil: stage.at + 15 * 60_000 });
    stage.at += 15 * 60_000 - 1;
    await stage.inside(() => {});
    await stage.coordinator.poke();
    expect((await slot())?.environmentId).toBe(ENVIRONMENT);
    stage.at += 1;
    await stage.inside(() => {});
    await stage.coordinator.poke();
    expect(await slot()).toMatchObject({ environmentId: null, restUntil: null });
  });

  it("changes hands only when no copy leads there any more, though KV was away until then", async () => {
    stage.at = Date.now();
    const passed = async (ms: number) => {
      stage.at = (stage.at ?? 0) + ms;
      await stage.inside(() => {});
      await stage.coordinator.poke();
    };
    await stage.deploy();
    await passed(1_000);
    const [used] = await stage.instances();
    const owner = async () =>
      (await stage.slots()).find(({ id }) => id === used?.slotId)?.environmentId ?? null;
    const copy = () => env.TABLES.get(tableKey(HOSTNAME), "text");
    const kvIs = (state: "away" | "back") =>
      stage.inside((coordinator) => {
        const away = { put: lost, delete: lost };
        const value = state === "away" ? { ...env, TABLES: away } : env;
        Object.defineProperty(coordinator, "env", { value, configurable: true });
      });
    expect(await copy()).toContain(used?.id ?? "none");
    await kvIs("away");
    await stage.coordinator.destroy({ actor: "ann" });
    for (let turn = 0; turn < 20; turn++) {
      await stage.work();
      await passed(2 * 60_000);
    }
    // Its rest is long over, and a cold edge without control would still be led there.
    expect([await owner(), await copy()]).toEqual([ENVIRONMENT, expect.stringContaining(used?.id ?? "none")]);
    await kvIs("back");
    await passed(20_000);
    expect([await owner(), await copy()]).toEqual([null, null]);
  });
});

const lost = () => Promise.reject(new Error("KV is away"));
