import { runDurableObjectAlarm } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { tableKey } from "../../../src/control/environment/publisher.ts";
import { openDb } from "../../../src/control/store/db.ts";
import { commit } from "../../../src/control/store/decisions.ts";
import { loadEnvironment } from "../../../src/control/store/environments.ts";
import { environments } from "../../../src/control/store/schema/environments.ts";
import { events } from "../../../src/control/store/schema/events.ts";
import { outbox } from "../../../src/control/store/schema/outbox.ts";
import { releases } from "../../../src/control/store/schema/releases.ts";
import { secrets } from "../../../src/control/store/schema/secrets.ts";
import { findReleases } from "../../../src/control/store/status.ts";
import type { WorkerSpec } from "../../../src/domain/processes/process.ts";
import { Draft } from "../../../src/domain/rollout/draft.ts";
import type { MeterBatch } from "../../../src/domain/routing/meter.ts";
import { ENVIRONMENT, HOSTNAME, Stage } from "../support/stage.ts";

let stage: Stage;
const answer = vi.fn<(url: string) => Response>();
beforeEach(async () => {
  answer.mockImplementation(() => new Response("ok"));
  vi.stubGlobal("fetch", async (input: RequestInfo | URL) => answer(String(input)));
  stage = await Stage.open();
});
afterEach(() => void vi.unstubAllGlobals());

describe("the coordinator", () => {
  it("takes a release from queued to live, and the table with it", async () => {
    await stage.deploy();
    expect(await stage.routed()).toMatchObject({ weights: { v1: 10_000 } });
    await stage.deploy();
    expect(await stage.routed()).toMatchObject({ weights: { v2: 10_000 } });
    stage.ahead = 34_000;
    await stage.until("v2", "live");
    const states = (await stage.instances()).map(({ state }) => state);
    expect(states).toEqual(["warm", "warm", "serving", "serving"]);
  });

  it("gives each release a fence of its own, in every job", async () => {
    await stage.create();
    await stage.until("v1", "preparing");
    expect((await stage.jobs()).map(({ fence }) => fence)).toEqual([1, 1]);
  });

  it("answers the same release to the same request key, and makes one", async () => {
    const first = await stage.create({ requestKey: "k" });
    const again = await stage.create({ requestKey: "k" });
    expect(first).toMatchObject({ ok: true, value: { created: true } });
    expect(again).toEqual({ ok: true, value: { release: first.ok && first.value.release, created: false } });
    expect((await stage.releases()).length).toBe(1);
  });

  it("refuses a label that is taken, and passes over one it would have given itself", async () => {
    await stage.create({ version: "v1" });
    expect(await stage.create({ version: "v1" })).toMatchObject({ ok: false, error: { code: "conflict" } });
    await stage.create();
    expect((await stage.releases()).map(({ version }) => version).sort()).toEqual(["v1", "v2"]);
  });

  it("gives the label of a release that failed before any visitor met it to the next", async () => {
    await stage.create({ version: "1.4.2" });
    const first = await stage.release("1.4.2");
    await stage.db.update(releases).set({ state: "failed", endedAt: 1 }).where(eq(releases.id, first.id));
    const again = await stage.create({ version: "1.4.2" });
    expect(again).toMatchObject({ ok: true, value: { created: true } });
    const named = await findReleases(stage.db, first.environmentId, ["1.4.2"]);
    expect(named.map(({ id }) => id)).toEqual([again.ok && again.value.release, first.id]);
    expect(await stage.create({ version: "1.4.2" })).toMatchObject({
      ok: false,
      error: { code: "conflict" },
    });
  });

  it("goes on where its alarm was lost, when it is poked", async () => {
    await stage.create();
    await stage.until("v1", "preparing");
    await stage.work();
    await stage.inside((_, state) => state.storage.deleteAlarm());
    await stage.coordinator.poke();
    expect((await stage.release("v1")).state).not.toBe("preparing");
  });

  it("rolls back at once to warm instances that answer", async () => {
    await stage.deploy();
    await stage.deploy();
    const rolled = await stage.coordinator.rollback({ to: null, actor: "ann" });
    expect(rolled).toMatchObject({ ok: true, value: { how: "instant" } });
    expect((await stage.routed()).weights).toEqual({ v1: 10_000 });
  });

  it("rolls back at once where half of the warm instances answer, and goes back once", async () => {
    await stage.deploy();
    const seen = await stage.deploy();
    answer.mockImplementation((url) => new Response("", { status: url.includes("bert-0") ? 530 : 200 }));
    const rolled = await stage.coordinator.rollback({ to: null, seen, actor: "ann" });
    expect(rolled).toMatchObject({ ok: true, value: { how: "instant" } });
    expect(await stage.coordinator.rollback({ to: null, seen, actor: "ben" })).toMatchObject({
      ok: false,
      error: { code: "precondition_failed" },
    });
    expect((await stage.routed()).weights).toEqual({ v1: 10_000 });
  });

  it("notes which secrets a release is made with; one that is started again has those that it had", async () => {
    const row = { environmentId: ENVIRONMENT, keyId: "k", updatedAt: 1, updatedBy: "ann" };
    await stage.db.insert(secrets).values({ ...row, name: "URL", sealed: "one", version: 1 });
    await stage.deploy();
    await stage.db.update(secrets).set({ version: 2 });
    await stage.deploy();
    answer.mockImplementation((url) => new Response("", { status: url.includes("-0.") ? 530 : 200 }));
    await stage.coordinator.rollback({ to: null, actor: "ann" });
    const noted = (await stage.releases()).map(({ version, secretVersions }) => [version, secretVersions]);
    expect(Object.fromEntries(noted)).toEqual({ v1: { URL: 1 }, v2: { URL: 2 }, "v1-again": { URL: 1 } });
  });

  it("makes one release of two rollbacks that have to start the old image again", async () => {
    await stage.deploy();
    await stage.deploy();
    answer.mockImplementation((url) => new Response("", { status: url.includes("-0.") ? 530 : 200 }));
    const both = await Promise.all(
      ["ann", "ben"].map((actor) => stage.coordinator.rollback({ to: null, actor })),
    );
    const made = both.map((one) => (one.ok ? one.value.release : null));
    expect(new Set(made).size).toBe(1);
    expect((await stage.releases()).filter(({ kind }) => kind === "rollback")).toHaveLength(1);
  });

  it("starts the old release again where fewer than half of its warm instances answer", async () => {
    await stage.deploy();
    await stage.deploy();
    answer.mockImplementation((url) => new Response("", { status: url.includes("-0.") ? 530 : 200 }));
    const rolled = await stage.coordinator.rollback({ to: null, actor: "ann" });
    expect(rolled).toMatchObject({ ok: true, value: { how: "restart" } });
    expect((await stage.routed()).weights).toEqual({ v2: 10_000 });
    answer.mockImplementation(() => new Response("ok"));
    await stage.until("v1-again", "settling");
    expect((await stage.routed()).weights).toEqual({ "v1-again": 10_000 });
  });
});

describe("its table", () => {
  it("is unknown for a foreign hostname, and unchanged for who holds it", async () => {
    await stage.deploy();
    const { version } = await stage.routed();
    expect(await stage.coordinator.table("other.example.com", null)).toEqual({ kind: "unknown" });
    expect(await stage.coordinator.table(HOSTNAME, version)).toEqual({ kind: "unchanged", version });
  });

  it("rises only when the routing changes", async () => {
    await stage.deploy();
    const before = await stage.routed();
    for (let n = 0; n < 3; n++) await stage.coordinator.poke();
    expect(await stage.routed()).toEqual(before);
  });

  it("renews a partial weight before the edge would drop it", async () => {
    await stage.deploy();
    await stage.deploy();
    const [v1, v2] = await stage.releases();
    await stage.coordinator.setWeights({
      weights: { [v1?.id ?? ""]: 5_000, [v2?.id ?? ""]: 5_000 },
      actor: "a",
      seenRev: null,
    });
    const before = await stage.routed();
    stage.ahead = 25_000;
    await stage.inside((coordinator) => coordinator.alarm());
    expect(await stage.routed()).toEqual({ ...before, version: before.version + 1 });
  });

  it("is copied to KV, again after KV failed", async () => {
    await stage.inside((coordinator) => {
      const bindings = { TABLES: { put: () => Promise.reject(new Error("KV is away")) } };
      Object.defineProperty(coordinator, "env", { value: { ...env, ...bindings }, configurable: true });
    });
    await stage.deploy();
    expect(await env.TABLES.get(tableKey(HOSTNAME))).toBeNull();
    expect(await stage.inside((_, state) => state.storage.getAlarm())).not.toBeNull();
    await stage.kill();
    await runDurableObjectAlarm(stage.coordinator);
    const copy = await env.TABLES.get<{ version: number }>(tableKey(HOSTNAME), "json");
    expect(copy?.version).toBe((await stage.routed()).version);
  });
});

describe("what it owes", () => {
  it("is kept and tried again when a host can't be woken", async () => {
    await stage.inside((coordinator) => {
      const HOST_LINK = { getByName: () => ({ wake: () => Promise.reject(new Error("gone")) }) };
      Object.defineProperty(coordinator, "env", { value: { ...env, HOST_LINK }, configurable: true });
    });
    await stage.create();
    await stage.until("v1", "preparing");
    await stage.coordinator.poke();
    expect((await stage.db.select().from(outbox)).map(({ attempts }) => attempts)).toEqual([1, 1]);
    expect(await stage.inside((_, state) => state.storage.getAlarm())).not.toBeNull();
    await stage.kill();
    stage.ahead = 20_000;
    await stage.inside((coordinator) => coordinator.alarm());
    // Noted with the next trip to the database.
    await stage.coordinator.poke();
    expect(await stage.db.select().from(outbox)).toEqual([]);
  });
});

describe("a guarded write", () => {
  it("is refused whole where another was first, or the fence is an older one", async () => {
    const db = openDb(env.DB);
    const loaded = await loadEnvironment(db, ENVIRONMENT);
    if (!loaded) throw new Error("not loaded");
    const { facts } = loaded;
    const draft = new Draft(facts, 1);
    draft.changeEnvironment({ nextVersion: 7 });
    const { decision } = draft;
    const write = (fence: number) => commit(db, { facts, decision, fence, now: 1 });
    await db.update(environments).set({ fence: 5 }).where(eq(environments.id, ENVIRONMENT));
    expect(await write(4)).toEqual({ ok: false, error: "stale" });
    expect(await write(5)).toMatchObject({ ok: true });
    expect(await write(5)).toEqual({ ok: false, error: "stale" });
    const [row] = await db.select().from(environments);
    expect(row).toMatchObject({ rev: 1, fence: 5, nextVersion: 7 });
  });
});

describe("a command", () => {
  it("is decided again from new facts where another writer was first", async () => {
    const due = { bump: false, bumped: 0 };
    const batch = async (statements: D1PreparedStatement[]) => {
      if (due.bump) {
        due.bump = false;
        due.bumped += 1;
        await env.DB.prepare("UPDATE environments SET rev = rev + 1, next_version = 9").run();
      }
      return env.DB.batch(statements);
    };
    await stage.inside((coordinator) => {
      coordinator.fault = (at) => {
        if (at === "armed" && due.bumped === 0) due.bump = true;
      };
      const prepare = (sql: string) => env.DB.prepare(sql);
      coordinator.useDatabase(Object.assign(Object.create(env.DB), { batch, prepare }));
    });
    expect(await stage.create()).toMatchObject({ ok: true });
    expect(due.bumped).toBe(1);
    expect((await stage.releases()).map(({ version }) => version)).toEqual(["v9"]);
  });

  it("passes over a label that a release out of view holds", async () => {
    await stage.deploy();
    const [row] = await stage.releases();
    if (!row) throw new Error("no release");
    const failed = { ...row, state: "failed", weightBp: 0, endedAt: 1, requestKey: null } as const;
    const older = (n: number) => ({ ...failed, id: `rel_old${n}`, version: `old${n}`, createdAt: 2 });
    const hidden = { ...failed, id: "rel_hidden", version: "v2", createdAt: 1, timings: { shifting: 5 } };
    for (let n = 0; n < 50; n++) await stage.db.insert(releases).values(older(n));
    await stage.db.insert(releases).values(hidden);
    expect(await stage.create()).toMatchObject({ ok: true });
    expect((await stage.release("v3")).kind).toBe("deploy");
    expect(await stage.create({ version: "v2" })).toMatchObject({ ok: false, error: { code: "conflict" } });
  });
});

describe("what the edge counted", () => {
  it("is added up once per batch", async () => {
    const window = Math.floor(Date.now() / 10_000) * 10_000;
    const counts = { requests: 10, errors: 0, pathErrors: 0, rescued: 0, failed: 2, eligible: true };
    const entry = { release: "r", instance: "i", window, ...counts, latency: [], erroredVisitors: [] };
    const classes = [0, 0, 10, 0, 0, 0] as const;
    const rest = { environment: ENVIRONMENT, colo: "AMS", mirrored: [] };
    const batch = (id: string): MeterBatch => ({ id, ...rest, entries: [{ ...entry, classes }] });
    for (const id of ["a", "a", "b"]) await stage.absorb(batch(id));
    const view = await stage.coordinator.inspect();
    expect(view.traffic).toEqual({ r: { requests: 20, failed: 4 } });
    expect(view.windows).toEqual([{ window, requests: 20, failed: 4 }]);
  });
});

describe("how stale an edge's table may be", () => {
  const MINUTE = 60_000;
  /** v1 and v2 were live, and v2 is at rest. */
  async function atRest(): Promise<void> {
    stage = await Stage.open({ drainMs: 1_000, keepMs: 10 * MINUTE });
    stage.at = Date.now();
    await stage.deploy();
    await stage.deploy();
    stage.at += 10_000;
    await stage.until("v2", "live");
  }
  const staleMs = async () => (await stage.table()).staleMs;
  const stops = async () => (await stage.jobs()).filter(({ kind }) => kind === "stop").length;
  const later = async (ms: number) => {
    stage.at = (stage.at ?? 0) + ms;
    await stage.inside(() => {});
    await stage.coordinator.poke();
  };

  it("is a minute at rest, and two seconds from the moment that a release is asked for", async () => {
    await atRest();
    expect(await staleMs()).toBe(MINUTE);
    await stage.create();
    await stage.coordinator.poke();
    expect(await staleMs()).toBe(2_000);
  });

  it("keeps what a rollback from rest leaves, until no quiet edge may ask it any more", async () => {
    await atRest();
    await stage.coordinator.rollback({ to: null, actor: "ann" });
    expect(await staleMs()).toBe(2_000);
    await later(MINUTE);
    expect([await stops(), (await stage.release("v2")).state]).toEqual([0, "rolling_back"]);
    await later(5_000);
    expect(await stops()).toBe(2);
    await stage.until("v2", "rolled_back");
    expect(await staleMs()).toBe(MINUTE);
  });

  it("delays no stop of what never served at rest", async () => {
    await atRest();
    await stage.deploy();
    await stage.coordinator.rollback({ to: null, actor: "ann" });
    await later(5_000);
    expect(await stops()).toBe(2);
  });
});

describe("a release with a worker", () => {
  it("has it started by the very decision that gives it the traffic", async () => {
    const mailer = { ...aWorker, command: ["mail"] };
    stage = await Stage.open({ processes: { mailer } });
    await stage.deploy();
    const told = await stage.db.select().from(events);
    expect(told.filter(({ type }) => type === "worker.alert")).toEqual([]);
    expect((await stage.instances()).filter(({ process }) => process === "mailer")).toHaveLength(1);
  });
});

const aWorker: WorkerSpec = {
  ...{ kind: "worker", command: [], env: {}, replicas: 1, stopGraceMs: 1_000, at: "live" },
  handover: "start-first",
  health: { intervalMs: 1_000, timeoutMs: 1_000, failures: 3, deadlineMs: 60_000 },
};
