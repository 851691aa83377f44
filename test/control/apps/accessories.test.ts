import { eq } from "drizzle-orm";
import { beforeEach, describe, expect, it } from "vitest";
import { accessories } from "../../../src/control/store/schema/accessories.ts";
import { events } from "../../../src/control/store/schema/events.ts";
import { hosts } from "../../../src/control/store/schema/hosts.ts";
import { jobs } from "../../../src/control/store/schema/jobs.ts";
import { sweep } from "../../../src/control/sweep.ts";
import type { EnrollAnswer } from "../../../src/protocol/agent/enroll.ts";
import type { JobDone } from "../../../src/protocol/agent/job-results.ts";
import type { Job } from "../../../src/protocol/agent/jobs.ts";
import type { AccessoryView } from "../../../src/protocol/api/accessories.ts";
import { Api, problemOf } from "../support/api.ts";
import { K1 } from "../support/vault.ts";
import * as world from "../support/world.ts";

const ENV = "/api/v1/apps/shop/envs/production";
const PINNED = `postgres@sha256:${"a".repeat(64)}`;
const OTHER_DIGEST = `sha256:${"b".repeat(64)}`;
const manifest = (image = "postgres:16", more = "") =>
  world.manifest(
    "shop",
    `accessories:
  db:
    image: ${image}
    secrets: [POSTGRES_PASSWORD]
    volumes: [pgdata:/var/lib/postgresql/data]
${more}`,
  );

let api: Api;
let host: EnrollAnswer;
beforeEach(async () => {
  await world.emptyWorld();
  api = new Api({}, { SECRETS_KEY: K1 });
  host = await world.enrolled(api);
  await poll();
  expect((await api.apply("shop", manifest())).status).toBe(200);
  await setPassword();
});

const PASSWORD = `${ENV}/secrets/POSTGRES_PASSWORD`;
const setPassword = () => api.put(PASSWORD, { value: "hunter2" });

async function poll(boot = "boot-1"): Promise<Job[]> {
  const body = world.pollBody({ clock: api.time, boot });
  const response = await api.post("/agent/v1/poll", body, { token: host.token });
  return (await response.json<{ jobs: Job[] }>()).jobs;
}
const finish = (job: Job | undefined, outcome: Omit<Extract<JobDone, { ok: true }>, "lease"> | object) =>
  api.post(`/agent/v1/jobs/${job?.id}/done`, { lease: job?.lease, ...outcome }, { token: host.token });
const done = (job: Job | undefined, result: object = { image: PINNED }) => finish(job, { ok: true, result });
const failed = (job: Job | undefined, error: object) =>
  finish(job, {
    ok: false,
    error: { code: "exited", message: "it exited", logs: ["no password"], ...error },
  });

const say = (action: string, call = {}) => api.post(`${ENV}/accessories/db/${action}`, {}, call);
const remove = () => api.delete(`${ENV}/accessories/db`);
async function db(): Promise<AccessoryView> {
  const { items } = await (await api.get(`${ENV}/accessories`)).json<{ items: AccessoryView[] }>();
  const [first] = items;
  if (!first) throw new Error("no accessory");
  return first;
}
async function running(): Promise<void> {
  await say("start");
  const [job] = await poll();
  await done(job);
  expect((await db()).state).toBe("running");
}

/** A poll in which the host says which accessories it has. */
async function tell(...accessories: readonly { accessory: string; lack?: string }[]): Promise<void> {
  const facts = { os: "Debian", arch: "x64", node: "v24", accessories };
  const body = world.pollBody({ clock: api.time, facts });
  expect((await api.post("/agent/v1/poll", body, { token: host.token })).status).toBe(200);
}
const DB = "shop_production_db";
async function alerts(): Promise<{ message: string; data: object }[]> {
  const rows = await world.db.select().from(events).where(eq(events.type, "accessory.alert"));
  return rows.map(({ message, data }) => ({ message, data: data ?? {} }));
}

describe("an accessory that something else than a person's word changes", () => {
  it("is failed once its host says that it ended, runs when it says so again, and each is told once", async () => {
    await running();
    await tell({ accessory: DB });
    expect(await db()).toMatchObject({ state: "running", cause: null });
    for (let i = 0; i < 2; i += 1) await tell({ accessory: DB, lack: "was ended by SIGKILL" });
    expect(await db()).toMatchObject({
      state: "failed",
      cause: "db on web-1 was ended by SIGKILL",
      next: [{ command: "sluice accessory start db -a shop -e production" }],
    });
    for (let i = 0; i < 2; i += 1) await tell({ accessory: DB });
    expect(await db()).toMatchObject({ state: "running", cause: null });
    expect(await alerts()).toEqual([
      { message: "db on web-1 was ended by SIGKILL", data: expect.objectContaining({ state: "failed" }) },
      { message: "db on web-1 runs again", data: expect.objectContaining({ state: "running" }) },
    ]);
  });

  it("is failed where its container was removed, and a start makes it again", async () => {
    await running();
    await tell();
    expect(await db()).toMatchObject({
      state: "failed",
      cause: expect.stringMatching(/removed from outside/),
    });
    await running();
  });

  it("is left alone while something is done with it, and when it was stopped", async () => {
    await say("start");
    const [job] = await poll();
    await tell();
    expect((await db()).state).toBe("starting");
    await done(job);
    await say("stop");
    await done((await poll())[0]);
    await tell({ accessory: DB, lack: "exited with code 0" });
    expect((await db()).state).toBe("stopped");
    expect(await alerts()).toEqual([]);
  });

  it("is asked of its host by a start, whatever is written here", async () => {
    await running();
    expect((await say("start")).status).toBe(202);
    expect((await poll()).map(({ kind }) => kind)).toEqual(["accessory"]);
  });
});

describe("an accessory's way", () => {
  it("begins with nothing: applying a manifest starts none, and says how to", async () => {
    expect(await db()).toMatchObject({ state: "absent", image: "postgres:16", host: null, job: null });
    expect(await poll()).toEqual([]);
    const applied = await (await api.apply("shop", manifest())).json<{ accessories: object[] }>();
    expect(applied.accessories).toMatchObject([{ name: "db", state: "absent", environment: "production" }]);
  });

  it("start is a job for its host, without what is control's own, and its end is the row's", async () => {
    const answer = await say("start");
    expect(answer.status).toBe(202);
    expect(await answer.json()).toMatchObject({ state: "starting", host: "web-1", job: { action: "start" } });
    const [job] = await poll();
    expect(job).toMatchObject({
      kind: "accessory",
      action: "start",
      spec: { accessory: "shop_production_db", network: "sluice-shop_production", image: "postgres:16" },
    });
    expect(Object.keys(job ?? {})).not.toEqual(expect.arrayContaining(["declared"]));
    expect(job).not.toHaveProperty("secrets");
    expect(job).toMatchObject({ spec: { env: { POSTGRES_PASSWORD: "hunter2" } } });
    const [row] = await world.db.select().from(jobs).all();
    expect(row?.payload).toMatchObject({ secrets: ["POSTGRES_PASSWORD"] });
    await done(job);
    expect(await db()).toMatchObject({ state: "running", pinned: PINNED, cause: null, differs: [] });
    const said = (await world.db.select().from(events).all()).filter(
      ({ type }) => type === "accessory.state",
    );
    expect(said.map(({ message }) => message)).toEqual([
      "db: start on web-1, postgres:16",
      "db runs on web-1",
    ]);
  });

  it.each(["evil.example/miner:latest", "evil.example/miner", `sha256:${"X".repeat(64)}`, "sha256:"])(
    "is pinned by control's own words, never as the agent's %s",
    async (image) => {
      await say("start");
      const [job] = await poll();
      await done(job, { image });
      expect(await db()).toMatchObject({ state: "running", pinned: null });
      await say("stop");
      await done((await poll())[0], {});
      await say("start");
      expect((await poll())[0]).toMatchObject({ spec: { image: "postgres:16" } });
    },
  );

  it("asked for by digest stays at that one, whatever the agent says of it", async () => {
    const asked = `registry.example:5000/db:16@sha256:${"e".repeat(64)}`;
    await api.apply("shop", manifest(asked));
    await say("start");
    await done((await poll())[0], { image: PINNED });
    expect(await db()).toMatchObject({ pinned: `registry.example:5000/db@sha256:${"e".repeat(64)}` });
  });

  it("a failed start says why, with the last lines, and the next one starts by the manifest of then", async () => {
    await say("start");
    const [job] = await poll();
    await failed(job, { message: "postgres:16 exited with code 1" });
    expect(await db()).toMatchObject({
      state: "failed",
      cause: "postgres:16 exited with code 1",
      job: { logs: ["no password"] },
    });
    await api.apply("shop", manifest("postgres:17"));
    await say("start");
    const [again] = await poll();
    expect(again).toMatchObject({ spec: { image: "postgres:17" } });
  });

  it("a manifest of a newer image changes nothing but what is said: upgrade does, and start does not", async () => {
    await running();
    await api.apply("shop", manifest("postgres:17"));
    expect(await db()).toMatchObject({ differs: ["image postgres:16 → postgres:17"], state: "running" });
    expect((await db()).next[0]?.command).toContain("accessory upgrade db");
    expect(await poll()).toEqual([]);
    await say("stop");
    const [stop] = await poll();
    await done(stop, {});
    await say("start");
    const [start] = await poll();
    expect(start).toMatchObject({ action: "start", spec: { image: PINNED } });
    await done(start);
    expect((await db()).differs).toHaveLength(1);
    await say("upgrade");
    const [upgrade] = await poll();
    expect(upgrade).toMatchObject({ action: "upgrade", spec: { image: "postgres:17" } });
    await done(upgrade, { image: `evil.example/miner@${OTHER_DIGEST}` });
    const pinned = `postgres@${OTHER_DIGEST}`;
    expect(await db()).toMatchObject({ state: "running", image: "postgres:17", pinned, differs: [] });
  });

  it("an upgrade that was taken back leaves it running as it was, and says so", async () => {
    await running();
    await api.apply("shop", manifest("postgres:17"));
    await say("upgrade");
    const [job] = await poll();
    await failed(job, { message: "incompatible data", kept: true });
    expect(await db()).toMatchObject({
      state: "running",
      image: "postgres:16",
      pinned: PINNED,
      cause: "incompatible data",
      differs: ["image postgres:16 → postgres:17"],
    });
  });

  it("remove takes the row away when the container is gone, and names the volumes that stay", async () => {
    await running();
    const answer = await remove();
    expect(answer.status).toBe(202);
    const view = await answer.json<AccessoryView>();
    expect(view.volumes).toEqual(["sluice-shop_production_pgdata"]);
    expect(view.next).toMatchObject([{ command: "docker volume rm sluice-shop_production_pgdata" }]);
    const [job] = await poll();
    expect(job).toMatchObject({ action: "remove" });
    await done(job, {});
    expect((await db()).state).toBe("absent");
    expect(await world.db.select().from(accessories).all()).toEqual([]);
  });
});

describe("two at once", () => {
  it("starts do one thing, and both are told of it", async () => {
    const answers = await Promise.all([say("start"), say("start"), say("start")]);
    const views = await Promise.all(answers.map((answer) => answer.json<AccessoryView>()));
    expect(new Set(views.map(({ job }) => job?.id)).size).toBe(1);
    expect(await world.db.select().from(jobs).all()).toHaveLength(1);
  });

  it("a stop and an upgrade: one of them is done, the other refused with a reason", async () => {
    await running();
    const answers = await Promise.all([say("stop"), say("upgrade")]);
    expect(answers.map(({ status }) => status).sort()).toEqual([202, 409]);
    const open = (await world.db.select().from(jobs).all()).filter(({ finishedAt }) => finishedAt === null);
    expect(open).toHaveLength(1);
  });

  it("the same key again is the same answer, and nothing more is done", async () => {
    const headers = { "idempotency-key": "one" };
    const first = await (await say("start", { headers })).json<AccessoryView>();
    const [job] = await poll();
    await done(job);
    await say("stop");
    const again = await say("start", { headers });
    expect(await again.json<AccessoryView>()).toEqual(first);
  });

  it("a lost answer told twice moves the row once", async () => {
    await say("start");
    const [job] = await poll();
    await done(job);
    const since = (await db()).since;
    api.time += 1_000;
    expect((await done(job)).status).toBe(200);
    expect((await db()).since).toBe(since);
  });
});

describe("nothing stays on its way for ever", () => {
  it("a host that never answers ends as failed by the sweep, with the cause, and can be tried again", async () => {
    await say("start");
    await poll();
    api.time += 16 * 60_000;
    await sweep(api.env, api.time);
    expect(await db()).toMatchObject({
      state: "failed",
      cause: expect.stringContaining("deadline"),
      job: { state: "failed" },
    });
    await poll("boot-2");
    expect((await say("start")).status).toBe(202);
  });

  it("a host that comes back too late ends it at its poll", async () => {
    await say("start");
    api.time += 16 * 60_000;
    expect(await poll("boot-2")).toEqual([]);
    expect((await db()).state).toBe("failed");
  });

  it("a late agent's result is refused, and the row stays what it was ended as", async () => {
    await say("start");
    const [job] = await poll();
    api.time += 16 * 60_000;
    await sweep(api.env, api.time);
    expect(await problemOf(await done(job))).toBe("409 lease_lost");
    expect((await db()).state).toBe("failed");
  });
});

describe("it is refused", () => {
  it("without a secret that it names, with the command that sets it", async () => {
    await api.delete(PASSWORD);
    const refused = await say("start");
    expect(await problemOf(refused)).toBe("409 secrets_missing");
    expect(await refused.text()).toContain("sluice secrets set POSTGRES_PASSWORD");
    expect((await db()).state).toBe("absent");
  });

  it("to start where no host would hear of it, and says so", async () => {
    api.time += 120_000;
    const answer = await say("start");
    expect(await problemOf(answer)).toBe("409 no_hosts");
    expect((await answer.json<{ detail: string }>()).detail).toContain("web-1, which is offline");
    expect(await world.db.select().from(accessories).all()).toEqual([]);
  });

  it("to choose between hosts: the manifest has to name one", async () => {
    await world.enrolled(api, "web-2");
    const answer = await say("start");
    expect(await problemOf(answer)).toBe("409 no_hosts");
    expect((await answer.json<{ detail: string }>()).detail).toContain("(web-1, web-2)");
    await api.apply("shop", manifest("postgres:16", "    host: web-1\n"));
    expect(await (await say("start")).json()).toMatchObject({ host: "web-1" });
  });

  it("on a host of plain processes", async () => {
    await world.db.update(hosts).set({ runtime: "process" });
    expect((await (await say("start")).json<{ detail: string }>()).detail).toContain("plain processes");
  });

  it("to do what its state does not allow, and for those that the manifest does not have", async () => {
    expect(await problemOf(await say("stop"))).toBe("409 conflict");
    expect(await problemOf(await api.post(`${ENV}/accessories/redis/start`, {}))).toBe("404 not_found");
    await say("start");
    expect(await problemOf(await say("stop"))).toBe("409 conflict");
  });

  it("to people who may only look", async () => {
    const token = await api.token("viewer");
    expect(await problemOf(await say("start", { token }))).toBe("403 forbidden");
    expect((await api.get(`${ENV}/accessories`, { token })).status).toBe(200);
  });
});

describe("a manifest", () => {
  it("that has it no more leaves it running, and says how to remove it", async () => {
    await running();
    const answer = await api.apply("shop", world.manifest());
    expect(answer.status).toBe(200);
    expect((await answer.json<{ accessories: AccessoryView[] }>()).accessories).toMatchObject([
      {
        name: "db",
        state: "running",
        declared: false,
        next: [{ command: expect.stringContaining("remove db") }],
      },
    ]);
    expect(await poll()).toEqual([]);
    expect(await problemOf(await say("upgrade"))).toBe("409 conflict");
  });

  it("may not drop an environment that has one, stopped or not", async () => {
    await running();
    const staging = manifest().replace("production:", "staging:");
    const answer = await api.apply("shop", staging);
    expect(await problemOf(answer)).toBe("409 conflict");
    expect((await answer.json<{ detail: string }>()).detail).toContain("accessories (db)");
    await remove();
    const [job] = await poll();
    await done(job, {});
    expect((await api.apply("shop", staging)).status).toBe(200);
  });
});

describe("its host", () => {
  it("is not forgotten while it has one", async () => {
    await running();
    const answer = await api.delete("/api/v1/hosts/web-1");
    expect(await problemOf(answer)).toBe("409 host_busy");
    expect((await answer.json<{ detail: string }>()).detail).toContain("accessory db of shop/production");
    expect(await (await api.get("/api/v1/hosts/web-1")).json()).toMatchObject({
      accessories: [{ app: "shop", environment: "production", name: "db", state: "running" }],
    });
  });

  it("when it is gone for good leaves one to be forgotten, and started elsewhere", async () => {
    await running();
    await api.delete("/api/v1/hosts/web-1?force=1");
    expect(await db()).toMatchObject({ state: "running", host: "web-1", hostState: "removed" });
    expect(await problemOf(await say("stop"))).toBe("409 no_hosts");
    expect(await (await remove()).json()).toMatchObject({ state: "absent" });
    expect((await db()).state).toBe("absent");
    expect(await world.db.select().from(accessories).where(eq(accessories.name, "db"))).toEqual([]);
  });
});

it("a plan shows it, and places nothing where it can't be reached", async () => {
  await running();
  await world.enrolled(api, "web-2");
  const plan = await (await api.post(`${ENV}/releases?dryRun=1`, {})).json<Record<string, object[]>>();
  expect(plan.accessories).toMatchObject([{ name: "db", state: "running", host: "web-1" }]);
  expect(plan.instances).toMatchObject([{ host: "web-1" }]);
  const status = await (await api.get(ENV)).json<{ accessories: object[] }>();
  expect(status.accessories).toMatchObject([{ name: "db", state: "running", host: "web-1" }]);
});
