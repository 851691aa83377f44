import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { accessories } from "../../../src/control/store/schema/accessories.ts";
import { environments } from "../../../src/control/store/schema/environments.ts";
import { instances } from "../../../src/control/store/schema/instances.ts";
import { jobs } from "../../../src/control/store/schema/jobs.ts";
import { releases } from "../../../src/control/store/schema/releases.ts";
import { pastSecrets, secrets } from "../../../src/control/store/schema/secrets.ts";
import { prune } from "../../../src/control/store/upkeep/retention.ts";
import { type PollAnswer, pollAnswerSchema } from "../../../src/protocol/agent/poll.ts";
import type { EnvironmentView } from "../../../src/protocol/api/environments.ts";
import { Api } from "../support/api.ts";
import { countQueries } from "../support/count-queries.ts";
import { dump, K1, K2, tracesOf } from "../support/vault.ts";
import * as world from "../support/world.ts";

const VALUE = "postgres://shop:hunter2@db/shop";
const IMAGE = `ghcr.io/acme/shop@sha256:${"ab".repeat(32)}`;
const { db } = world;
let api: Api;
let host: Awaited<ReturnType<typeof world.enrolled>>;
let of: { environmentId: string; releaseId: string; host: typeof host };

beforeEach(async () => {
  await world.emptyWorld();
  api = new Api({}, { SECRETS_KEY: K1 });
  host = await world.enrolled(api);
  const staging = "  staging: { hostnames: [staging.example.com] }\n";
  await api.apply("shop", `${world.manifest("shop")}${staging}`);
  const environmentId = await idOf("production");
  of = { environmentId, releaseId: await world.release(environmentId, { weightBp: 10_000 }), host };
  await db
    .update(environments)
    .set({ stableReleaseId: of.releaseId })
    .where(eq(environments.id, environmentId));
  await set("DATABASE_URL", VALUE);
});
afterEach(() => vi.restoreAllMocks());

async function idOf(name: string): Promise<string> {
  const row = (await db.select().from(environments).all()).find((environment) => environment.name === name);
  return row?.id ?? "";
}
const set = (name: string, value: string, environment = "production") =>
  api.put(`/api/v1/apps/shop/envs/${environment}/secrets/${name}`, { value });
const login = (registry: string) =>
  api.put(`/api/v1/apps/shop/registries/${registry}`, { username: "bot", password: "pull-me" });

const poll = async (from = api, token = host.token): Promise<PollAnswer> => {
  const response = await from.post("/agent/v1/poll", world.pollBody(), { token });
  return pollAnswerSchema.parse(await response.json());
};

const probe = { path: "/", intervalMs: 250, timeoutMs: 1_000, failures: 3, successes: 1 };
const house = { app: "shop", environment: "production", env: { NODE_ENV: "production" }, resources: {} };
const spec = (instance: string) => ({
  ...{ instance, release: of.releaseId, version: "v1", slot: 0, hostPort: 20_000, containerPort: 3000 },
  ...{
    image: IMAGE,
    health: { startup: { ...probe, deadlineMs: 1_000 }, readiness: probe },
    stopGraceMs: 1_000,
  },
  ...{ ...house, logging: { maxSizeBytes: 1_000, maxFiles: 1 } },
});

/** An instance with its start job, as the coordinator makes both. */
async function starting(
  names: string[],
  slot = 0,
  row: Partial<typeof jobs.$inferInsert> = {},
): Promise<string> {
  const id = `${of.releaseId}-${slot + 1}`;
  await world.instance({ ...of, slot }, { id, state: "serving" });
  const payload = { spec: spec(id), secrets: names };
  await world.job(of, { id: `start-${id}`, kind: "start", instanceId: id, payload, ...row });
  return id;
}
const accessory = (action: string, id = `accessory-${action}`) => {
  const about = { accessory: "shop-production-db", name: "db", image: "postgres:17", stopGraceMs: 1_000 };
  const payload = {
    ...{ action, secrets: ["DATABASE_URL"] },
    spec: { ...about, ...house, logging: { maxSizeBytes: 1_000, maxFiles: 1 } },
  };
  return world.job(of, { id, kind: "accessory", payload, releaseId: null });
};
const jobRow = async (id: string) => (await db.select().from(jobs).where(eq(jobs.id, id)).all())[0];
const versionsOf = async (id: string) =>
  (await db.select().from(instances).where(eq(instances.id, id)).all())[0]?.secretVersions;
const statusOf = async () => (await api.get("/api/v1/apps/shop/envs/production")).json<EnvironmentView>();

/** An accessory as the manifest declares it. */
const SPEC = {
  image: "postgres:17",
  env: {},
  secrets: ["DATABASE_URL"],
  volumes: [],
  container: { readOnly: false, tmpfs: [], ulimits: {} },
  resources: {},
  logging: { maxSizeBytes: 1_000_000, maxFiles: 1 },
  stopGraceMs: 1_000,
};

describe("the agent that leases a job", () => {
  it("gets the values of the secrets that the job names, beside its plain variables, and no name more", async () => {
    await set("OTHER", "not named");
    const id = await starting(["DATABASE_URL"]);
    const [job] = (await poll()).jobs;
    expect(job).toMatchObject({
      kind: "start",
      spec: { env: { NODE_ENV: "production", DATABASE_URL: VALUE } },
    });
    expect(JSON.stringify(job)).not.toContain("not named");
    expect(await versionsOf(id)).toEqual({ DATABASE_URL: 1 });
  });

  it("gets them for a hook, too", async () => {
    const payload = {
      ...{ run: "rel-expand", hook: "expand", release: of.releaseId, version: "v1", image: IMAGE },
      ...{ ...house, command: ["migrate"], secrets: ["DATABASE_URL"] },
    };
    await world.job(of, { kind: "run", payload });
    expect((await poll()).jobs).toMatchObject([{ kind: "run", env: { DATABASE_URL: VALUE } }]);
  });

  it("gets the app's login for the image's registry, and for no other", async () => {
    await login("ghcr.io");
    await world.job(of, { id: "p1" });
    await world.job(of, { id: "p2", payload: { image: "quay.io/acme/shop:1" } });
    await world.job(of, { id: "p3", payload: { image: "acme/shop:1" } });
    await world.job(of, { id: "p4", payload: { image: "file:ghcr.io" } });
    await starting([]);
    const logins = (await poll()).jobs.map((job) => [
      job.id,
      "login" in job ? job.login?.password : undefined,
    ]);
    expect(Object.fromEntries(logins)).toEqual({
      ...{ p1: "pull-me", p2: undefined, p3: undefined, p4: undefined },
      [`start-${of.releaseId}-1`]: "pull-me",
    });
    await login("docker.io");
    await world.job(of, { id: "p5", payload: { image: "acme/shop:1" } });
    const registry = { registry: "docker.io", username: "bot", password: "pull-me" };
    expect((await poll()).jobs).toMatchObject([{ id: "p5", login: registry }]);
  });

  it("of another host gets nothing, and of another environment that one's own value", async () => {
    await set("DATABASE_URL", "staging's", "staging");
    const other = await world.enrolled(api, "web-2");
    await starting(["DATABASE_URL"]);
    expect((await poll(api, other.token)).jobs).toEqual([]);
    const staging = await idOf("staging");
    const there = { environmentId: staging, releaseId: await world.release(staging), host: other };
    const payload = { spec: spec("rel_s-1"), secrets: ["DATABASE_URL"] };
    await world.job(there, { id: "start-rel_s-1", kind: "start", payload });
    expect((await poll(api, other.token)).jobs).toMatchObject([
      { spec: { env: { DATABASE_URL: "staging's" } } },
    ]);
  });

  it("gets a value that was moved to its environment's row by hand under no circumstances", async () => {
    const [row] = await db.select().from(secrets).all();
    const staging = await idOf("staging");
    if (row) await db.insert(secrets).values({ ...row, environmentId: staging });
    const there = { environmentId: staging, releaseId: await world.release(staging), host };
    const payload = { spec: spec("rel_s-1"), secrets: ["DATABASE_URL"] };
    await world.job(there, { id: "start-rel_s-1", kind: "start", payload });
    expect((await poll()).jobs).toEqual([]);
    const { error } = (await jobRow("start-rel_s-1")) ?? {};
    expect(error).toMatchObject({ code: "secrets_unreadable" });
    expect(JSON.stringify(error)).toContain("the row was changed or moved");
  });

  it("gets an accessory's when it makes the container; stopping one needs none", async () => {
    await db.insert(accessories).values({
      ...{ environmentId: of.environmentId, name: "db", hostId: host.host.id, state: "starting" },
      ...{ stateSince: 0, createdAt: 0, spec: SPEC },
    });
    await accessory("start");
    expect((await poll()).jobs).toMatchObject([
      { kind: "accessory", spec: { env: { DATABASE_URL: VALUE } } },
    ]);
    const noted = async () => (await db.select().from(accessories).all())[0]?.secretVersions;
    expect(await noted()).toEqual({ DATABASE_URL: 1 });
    await set("DATABASE_URL", "new");
    // Started again it is the container that was made then; an upgrade makes a new one.
    await accessory("start", "accessory-again");
    await poll();
    expect(await noted()).toEqual({ DATABASE_URL: 1 });
    expect((await statusOf()).staleSecrets).toMatchObject([{ name: "DATABASE_URL", accessories: ["db"] }]);
    await accessory("upgrade");
    await poll();
    expect(await noted()).toEqual({ DATABASE_URL: 2 });
    await db.delete(secrets);
    await accessory("stop");
    expect((await poll()).jobs).toMatchObject([{ action: "stop" }]);
  });
});

describe("a pull request's preview", () => {
  const PREVIEWS =
    "    previews: { hostname: 'pr-{number}-shop.example.com', secrets: [DATABASE_URL, KEY] }\n";
  const setShared = (name: string, value: string) =>
    api.put(`/api/v1/apps/shop/envs/production/secrets/${name}?previews=1`, { value });

  /** Opened while it had all it needs; what it needs may be gone again when it starts. */
  async function opened(number: number) {
    await api.apply("shop", world.manifest("shop", PREVIEWS));
    await setShared("DATABASE_URL", "of all previews");
    await setShared("KEY", "key");
    api.coordinators.release = (_input, environmentId) => world.release(environmentId, { version: "v0" });
    await env.DB.prepare("UPDATE hosts SET last_seen_at = ?").bind(api.time).run();
    const answer = await api.post("/api/v1/apps/shop/previews", { number, image: "ghcr.io/acme/shop:pr" });
    expect(answer.status, await answer.text()).toBe(202);
    const environmentId = await idOf(`pr-${number}`);
    return { environmentId, releaseId: await world.release(environmentId), host };
  }
  const start = (at: Awaited<ReturnType<typeof opened>>, name: string) =>
    world.job(at, {
      ...{ id: `start-${name}`, kind: "start", releaseId: at.releaseId },
      payload: { spec: spec(name), secrets: ["DATABASE_URL"] },
    });
  const given = async () =>
    (await poll()).jobs.map((job) => [job.id, job.kind === "start" ? job.spec.env.DATABASE_URL : undefined]);

  it("gets the value that all previews share, or the one of its own, beside its environment's instances", async () => {
    const [one, two] = [await opened(1), await opened(2)];
    await set("DATABASE_URL", "of number two", "pr-2");
    await start(one, "p1");
    await start(two, "p2");
    const id = await starting(["DATABASE_URL"]);
    expect(Object.fromEntries(await given())).toEqual({
      "start-p1": "of all previews",
      "start-p2": "of number two",
      [`start-${id}`]: VALUE,
    });
  });

  it("without one fails, and never gets its environment's: not today's, and not one of before", async () => {
    const at = await opened(1);
    // The template's has the version that the preview's release was made with.
    await db
      .update(releases)
      .set({ secretVersions: { DATABASE_URL: 1 } })
      .where(eq(releases.id, at.releaseId));
    await set("DATABASE_URL", "production's new one");
    await api.delete("/api/v1/apps/shop/envs/production/secrets/DATABASE_URL?previews=1");
    await start(at, "p1");
    const id = await starting(["DATABASE_URL"]);
    expect(await given()).toEqual([[`start-${id}`, "production's new one"]]);
    const row = await jobRow("start-p1");
    expect(row).toMatchObject({ state: "failed", error: { code: "secrets_missing" } });
    expect(JSON.stringify(row)).toContain("the secret DATABASE_URL has no value");
  });
});

describe("a job whose secret control can't give", () => {
  const failed = async (id: string, code: string, words: string) => {
    const row = await jobRow(`start-${id}`);
    expect(row).toMatchObject({ state: "failed", error: { code } });
    expect(JSON.stringify(row?.error)).toContain(words);
    expect(JSON.stringify(row?.error)).not.toContain("hunter2");
  };

  it("fails with the command that sets it, tells its coordinator, and keeps no other from its agent", async () => {
    const id = await starting(["DATABASE_URL", "SESSION_SECRET"]);
    await starting(["DATABASE_URL"], 1);
    api.coordinators.asked.length = 0;
    expect((await poll()).jobs.map((job) => job.id)).toEqual([`start-${of.releaseId}-2`]);
    await failed(id, "secrets_missing", "sluice secrets set SESSION_SECRET -a shop -e production");
    expect(api.coordinators.asked).toMatchObject([{ environment: of.environmentId, what: "poke" }]);
    expect(await versionsOf(id)).toBeNull();
  });

  it("fails when the key is gone, or another one", async () => {
    const first = await starting(["DATABASE_URL"]);
    expect((await poll(new Api({}, {}))).jobs).toEqual([]);
    await failed(first, "secrets_unreadable", "control has no key for secrets");
    const second = await starting(["DATABASE_URL"], 1);
    expect((await poll(new Api({}, { SECRETS_KEY: K2 }))).jobs).toEqual([]);
    await failed(second, "secrets_unreadable", "under the key `k1`, and control has `k2`");
  });

  it("fails in words, too, when it is a registry's password", async () => {
    await login("ghcr.io");
    const id = await world.job(of);
    expect((await poll(new Api({}, { SECRETS_KEY: K2 }))).jobs).toEqual([]);
    expect(await jobRow(id)).toMatchObject({ state: "failed", error: { code: "secrets_unreadable" } });
  });
});

describe("what it costs", () => {
  const counting = () => {
    const { counted, DB } = countQueries(env.DB);
    return { counted, api: new Api({}, { DB, SECRETS_KEY: K1 }) };
  };

  it("is one query for an idle poll, as before", async () => {
    const { counted, api: counted_ } = counting();
    await poll(counted_);
    expect(counted.queries).toBe(1);
  });

  it("is one to read and one to note for any number of starts, and none where nothing is secret", async () => {
    for (const slot of [0, 1, 2]) await starting(["DATABASE_URL"], slot);
    const some = counting();
    expect((await poll(some.api)).jobs).toHaveLength(3);
    expect(some.counted.queries).toBe(4);
    await world.job(of, { kind: "stop", payload: { instance: "rel-1", graceMs: 0 } });
    const none = counting();
    expect((await poll(none.api)).jobs).toHaveLength(1);
    expect(none.counted.queries).toBe(2);
  });
});

describe("a secret that was changed", () => {
  it("shows who still runs the old value, and the command that hands the new one out", async () => {
    const id = await starting(["DATABASE_URL"]);
    await poll();
    expect((await statusOf()).staleSecrets).toEqual([]);
    api.time += 60_000;
    await set("DATABASE_URL", "new");
    const status = await statusOf();
    expect(status.staleSecrets).toEqual([
      {
        ...{ name: "DATABASE_URL", setAt: new Date(api.time).toISOString() },
        ...{ instances: [id], kept: [], accessories: [] },
      },
    ]);
    expect(status.next[0]).toEqual({
      command: "sluice deploy -a shop -e production --current",
      when: "to hand out the new DATABASE_URL",
    });
    const next = await starting(["DATABASE_URL"], 1);
    await poll();
    await db.update(instances).set({ state: "warm" }).where(eq(instances.id, id));
    expect(await versionsOf(next)).toEqual({ DATABASE_URL: 2 });
    expect((await statusOf()).staleSecrets).toMatchObject([{ instances: [], kept: [id] }]);
    await db.update(instances).set({ state: "stopped", stoppedAt: 1 }).where(eq(instances.id, id));
    expect((await statusOf()).staleSecrets).toEqual([]);
  });

  it("between two leases of one start counts as not handed out: the instance may run since the first", async () => {
    const id = await starting(["DATABASE_URL"]);
    await poll();
    await set("DATABASE_URL", "new");
    api.time += 30_001;
    expect((await poll()).jobs).toMatchObject([{ spec: { env: { DATABASE_URL: "new" } } }]);
    expect(await versionsOf(id)).toEqual({ DATABASE_URL: 1 });
    expect((await statusOf()).staleSecrets).toMatchObject([{ instances: [id] }]);
  });

  describe("after a release was made with the value before", () => {
    const given = async () => {
      const { jobs: handed } = await poll();
      return handed.map((job) => (job.kind === "start" ? job.spec.env.DATABASE_URL : undefined));
    };
    beforeEach(async () => {
      await db
        .update(releases)
        .set({ secretVersions: { DATABASE_URL: 1 } })
        .where(eq(releases.id, of.releaseId));
      await set("DATABASE_URL", "postgres://nowhere");
    });

    it("is not what a new instance of that release gets: it has that release's", async () => {
      const id = await starting(["DATABASE_URL"]);
      expect(await given()).toEqual([VALUE]);
      expect(await versionsOf(id)).toEqual({ DATABASE_URL: 1 });
    });

    it("is, once the old values are revoked, or the one before is no release's any more", async () => {
      await api.put("/api/v1/apps/shop/envs/production/secrets/DATABASE_URL", {
        value: "postgres://nowhere",
        revokeOld: true,
      });
      await starting(["DATABASE_URL"]);
      expect(await given()).toEqual(["postgres://nowhere"]);
      const { items } = await (await api.get("/api/v1/audit")).json<{ items: { message: string }[] }>();
      expect(items.map(({ message }) => message)).toContain("older values of secret DATABASE_URL revoked");
    });

    it("stays readable under a new key, and goes with what it was kept for", async () => {
      const rotated = new Api({}, { SECRETS_KEY: K2, SECRETS_KEY_BEFORE: K1 });
      expect(await (await rotated.post("/api/v1/secrets/reseal", {})).json()).toMatchObject({ left: 0 });
      await starting(["DATABASE_URL"]);
      const { jobs: handed } = await poll(new Api({}, { SECRETS_KEY: K2 }));
      expect(handed).toMatchObject([{ spec: { env: { DATABASE_URL: VALUE } } }]);
      const noted = { secretVersions: { DATABASE_URL: 2 } };
      await db.update(releases).set(noted).where(eq(releases.id, of.releaseId));
      for (let minute = 0; minute < 4; minute++) await prune(db, Date.now() + minute * 60_000);
      expect(await db.select().from(pastSecrets).all()).toEqual([]);
    });

    it("and removed is nobody's, in any version", async () => {
      await api.delete("/api/v1/apps/shop/envs/production/secrets/DATABASE_URL");
      expect(await db.select().from(pastSecrets).all()).toEqual([]);
    });
  });

  it("and removed is named as such", async () => {
    const id = await starting(["DATABASE_URL"]);
    await poll();
    await api.delete("/api/v1/apps/shop/envs/production/secrets/DATABASE_URL");
    expect((await statusOf()).staleSecrets).toMatchObject([{ setAt: null, instances: [id] }]);
  });
});

describe("nothing keeps a value", () => {
  it("not D1 and not control's log, after all that can happen to it", async () => {
    const said: unknown[] = [];
    for (const method of ["log", "info", "warn", "error", "debug"] as const)
      vi.spyOn(console, method).mockImplementation((...words) => void said.push(words));
    await login("ghcr.io");
    await starting(["DATABASE_URL"]);
    await starting(["DATABASE_URL", "MISSING"], 1);
    await world.job(of, { payload: { nonsense: true } });
    await world.job(of, { id: "accessory-bad", kind: "accessory", payload: { secrets: ["DATABASE_URL"] } });
    const answer = await poll();
    expect(JSON.stringify(answer)).toContain("hunter2");
    expect(JSON.stringify(answer)).toContain("pull-me");
    await poll(new Api({}, { SECRETS_KEY: K2 }));
    await statusOf();
    expect(said.length).toBeGreaterThan(0);
    const text = `${await dump()} ${JSON.stringify(said)}`;
    for (const value of [VALUE, "hunter2", "pull-me"])
      for (const trace of await tracesOf(value)) expect(text).not.toContain(trace);
  });
});
