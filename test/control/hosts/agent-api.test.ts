import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { beforeEach, describe, expect, it } from "vitest";
import { hosts } from "../../../src/control/store/schema/hosts.ts";
import { instances } from "../../../src/control/store/schema/instances.ts";
import { jobs } from "../../../src/control/store/schema/jobs.ts";
import { tokens } from "../../../src/control/store/schema/tokens.ts";
import { type PollAnswer, pollAnswerSchema } from "../../../src/protocol/agent/poll.ts";
import { Api, problemOf } from "../support/api.ts";
import { countQueries } from "../support/count-queries.ts";
import * as world from "../support/world.ts";

const { db, pollBody } = world;

let api: Api;
beforeEach(async () => {
  await world.emptyWorld();
  api = new Api();
});

describe("polling", () => {
  let host: Awaited<ReturnType<typeof world.enrolled>>;
  let of: { environmentId: string; releaseId: string; host: typeof host };
  beforeEach(async () => {
    host = await world.enrolled(api);
    const environmentId = await world.applied(api);
    of = { environmentId, releaseId: await world.release(environmentId), host };
  });
  const poll = async (more: Record<string, unknown> = {}): Promise<PollAnswer> => {
    const response = await api.post("/agent/v1/poll", pollBody(more), { token: host.token });
    return pollAnswerSchema.parse(await response.json());
  };
  const call = (path: string, json: unknown, token = host.token) => api.post(path, json, { token });
  const readJob = async (id: string) => (await db.select().from(jobs).where(eq(jobs.id, id)).all())[0];

  it("costs one D1 query when there is nothing to do", async () => {
    const { counted, DB } = countQueries(env.DB);
    const counting = new Api({}, { DB });
    counting.time = api.time;
    const response = await counting.post("/agent/v1/poll", pollBody(), { token: host.token });
    expect(response.status).toBe(200);
    expect(counted.queries).toBe(1);
  });

  it("notes that the host lives, its clock and its version", async () => {
    await poll({ clock: api.time + 4_000, agentVersion: "2.0.0", boot: "b9" });
    const [row] = await db.select().from(hosts).all();
    expect(row).toMatchObject({
      lastSeenAt: api.time,
      clockSkewMs: 4_000,
      agentVersion: "2.0.0",
      boot: "b9",
    });
  });

  it("asks for the next poll soon while there is work, late when there is none", async () => {
    expect((await poll()).pollAfterMs).toBe(60_000);
    expect((await poll({ connected: false })).pollAfterMs).toBe(30_000);
    await world.job(of);
    expect((await poll()).pollAfterMs).toBe(1_000);
  });

  it("gives a worker's start to no agent that would not know the word", async () => {
    const health = { path: "/", intervalMs: 1_000, timeoutMs: 1_000, failures: 1, successes: 1 };
    const spec = {
      ...{ instance: "ins_1", release: of.releaseId, version: "v1", app: "shop", environment: "production" },
      ...{ image: "shop", env: {}, stopGraceMs: 1_000, worker: { process: "mailer", steadyMs: 1_000 } },
      health: { startup: { ...health, deadlineMs: 1_000 }, readiness: health },
    };
    await world.job(of, { kind: "start", payload: { spec, secrets: [] } });
    expect((await poll({ takes: ["start", "stop"] })).jobs).toEqual([]);
    expect((await poll({ takes: ["start", "stop", "command"] })).jobs).toHaveLength(1);
  });

  it("leases a job once, and to nobody else's host", async () => {
    const other = await world.enrolled(api, "web-2");
    const id = await world.job(of);
    const foreign = await call("/agent/v1/poll", pollBody(), other.token);
    expect((await foreign.json<PollAnswer>()).jobs).toEqual([]);
    const [job] = (await poll()).jobs;
    expect(job).toMatchObject({
      id,
      kind: "pull",
      image: "ghcr.io/acme/shop:1",
      environmentId: of.environmentId,
      leaseExpiresAt: api.time + 30_000,
    });
    expect((await poll()).jobs).toEqual([]);
    expect((await readJob(id))?.attempts).toBe(1);
  });

  it("never gives one job to two polls at the same time", async () => {
    for (let i = 0; i < 5; i += 1) await world.job(of);
    const answers = await Promise.all(Array.from({ length: 6 }, () => poll()));
    const ids = answers.flatMap(({ jobs }) => jobs.map(({ id }) => id));
    expect(ids).toHaveLength(5);
    expect(new Set(ids).size).toBe(5);
  });

  it("gives at most ten jobs, oldest first", async () => {
    for (let i = 0; i < 12; i += 1) await world.job(of, { id: `job-${i}`, createdAt: api.time - i });
    const ids = (await poll()).jobs.map(({ id }) => id);
    expect(ids).toEqual([11, 10, 9, 8, 7, 6, 5, 4, 3, 2].map((i) => `job-${i}`));
  });

  it("leases nothing to an agent that wants no jobs", async () => {
    await world.job(of);
    expect((await poll({ wantsJobs: false })).jobs).toEqual([]);
  });

  it("leases a job again when its lease ran out, and the old lease is worth nothing then", async () => {
    const id = await world.job(of);
    const [first] = (await poll()).jobs;
    api.time += 30_001;
    const [second] = (await poll()).jobs;
    expect(second?.id).toBe(id);
    expect(second?.lease).not.toBe(first?.lease);
    const late = await call(`/agent/v1/jobs/${id}/done`, { lease: first?.lease, ok: true, result: {} });
    expect(await problemOf(late)).toBe("409 lease_lost");
    const progress = await call(`/agent/v1/jobs/${id}/progress`, { lease: first?.lease, message: "pulling" });
    expect(await problemOf(progress)).toBe("409 lease_lost");
    expect((await readJob(id))?.state).toBe("leased");
  });

  it("leases a job again at once when the agent has restarted", async () => {
    const id = await world.job(of);
    await poll({ boot: "boot-1" });
    expect((await poll({ boot: "boot-2" })).jobs.map((job) => job.id)).toEqual([id]);
  });

  it("keeps a lease alive by progress, and tells the release's followers", async () => {
    const id = await world.job(of);
    const [job] = (await poll()).jobs;
    api.time += 29_000;
    const body = { lease: job?.lease, message: "pulling 3 of 5 layers" };
    const response = await call(`/agent/v1/jobs/${id}/progress`, body);
    expect(await response.json()).toEqual({ leaseExpiresAt: api.time + 30_000 });
    await call(`/agent/v1/jobs/${id}/progress`, body);
    api.time += 29_000;
    expect((await poll()).jobs).toEqual([]);
    const { items } = await (await api.get("/api/v1/audit")).json<{
      items: { type: string; message: string }[];
    }>();
    const said = items.filter(({ type }) => type === "release.progress");
    expect(said).toMatchObject([
      { message: "v1 on web-1: pulling 3 of 5 layers", actor: "agent:web-1", release: of.releaseId },
    ]);
  });

  it("leaves a hook that its agent has to its agent for half a minute: it may be ending it just now", async () => {
    const held = {
      kind: "run",
      state: "leased",
      lease: "lease-1",
      leaseBoot: "boot-1",
      leaseExpiresAt: api.time + 90_000,
    } as const;
    const id = await world.job(of, { ...held, deadlineAt: api.time + 5_000 });
    const states: (string | undefined)[] = [];
    for (const pass of [1_000, 10_000, 1_000, 20_000, 30_000]) {
      api.time += pass;
      await poll();
      states.push((await readJob(id))?.state);
    }
    expect(states).toEqual(["leased", "leased", "leased", "leased", "failed"]);
  });

  it("fails a job that is past its deadline once its agent has had its say since, and tells its coordinator", async () => {
    const id = await world.job(of, { deadlineAt: api.time });
    expect((await poll()).jobs).toEqual([]);
    // Control may have been away, and the agent about to tell how it ended.
    expect(await readJob(id)).toMatchObject({ state: "queued" });
    api.coordinators.asked.length = 0;
    expect((await poll()).jobs).toEqual([]);
    expect(await readJob(id)).toMatchObject({ state: "failed", error: { code: "deadline" } });
    expect(api.coordinators.asked).toMatchObject([{ environment: of.environmentId, what: "poke" }]);
  });

  it("fails a job that no agent could read instead of sending it", async () => {
    const id = await world.job(of, { payload: { nonsense: true } });
    const good = await world.job(of);
    expect((await poll()).jobs.map((job) => job.id)).toEqual([good]);
    expect(await readJob(id)).toMatchObject({ state: "failed", error: { code: "internal" } });
  });

  it("takes a job's result once, tells its coordinator, and answers a repetition the same", async () => {
    const id = await world.job(of);
    const [job] = (await poll()).jobs;
    api.coordinators.asked.length = 0;
    const result = { image: "ghcr.io/acme/shop@sha256:1", digest: "sha256:1" };
    const body = { lease: job?.lease, ok: true, result };
    expect((await call(`/agent/v1/jobs/${id}/done`, body)).status).toBe(200);
    expect((await call(`/agent/v1/jobs/${id}/done`, body)).status).toBe(200);
    expect(await readJob(id)).toMatchObject({ state: "done", result, finishedAt: api.time });
    expect(api.coordinators.of("poke")).toHaveLength(1);
    const otherwise = { lease: job?.lease, ok: false, error: { code: "internal", message: "no" } };
    expect(await problemOf(await call(`/agent/v1/jobs/${id}/done`, otherwise))).toBe("409 lease_lost");
  });

  it("is told how a job ended, and of an instance, in one trip each that looks at the token too", async () => {
    const instance = await world.instance({ ...of, slot: 0 }, { reportSeq: -1, reportState: null });
    const id = await world.job(of);
    const [job] = (await poll()).jobs;
    const { counted, DB } = countQueries(env.DB);
    const counting = new Api({}, { DB });
    counting.time = api.time;
    const tell = async (path: string, body: unknown) => {
      counted.queries = 0;
      expect((await counting.post(path, body, { token: host.token })).status).toBe(200);
      return counted.queries;
    };
    expect(await tell(`/agent/v1/jobs/${id}/done`, { lease: job?.lease, ok: true, result: {} })).toBe(1);
    const reports = [{ instance, seq: 0, state: "ready", at: 1 }];
    expect(await tell("/agent/v1/health", { reports })).toBe(1);
  });

  it("takes nothing of a token that ended, though its lease is good and its instance runs", async () => {
    const instance = await world.instance({ ...of, slot: 0 }, { reportSeq: -1, reportState: null });
    const id = await world.job(of);
    const [job] = (await poll()).jobs;
    await db.update(tokens).set({ revokedAt: api.time });
    const done = await call(`/agent/v1/jobs/${id}/done`, { lease: job?.lease, ok: true, result: {} });
    expect(await problemOf(done)).toBe("401 token_revoked");
    const reports = [{ instance, seq: 0, state: "ready", at: 1 }];
    expect(await problemOf(await call("/agent/v1/health", { reports }))).toBe("401 token_revoked");
    expect(await readJob(id)).toMatchObject({ state: "leased" });
    expect((await db.select().from(instances))[0]).toMatchObject({ reportState: null });
  });

  it("keeps the exact cause of a failed job", async () => {
    const id = await world.job(of);
    const [job] = (await poll()).jobs;
    const error = { code: "exited", message: "exited with 3", exitCode: 3, logs: ["boom"] };
    await call(`/agent/v1/jobs/${id}/done`, { lease: job?.lease, ok: false, error });
    expect(await readJob(id)).toMatchObject({ state: "failed", error });
  });

  it("refuses another host's result for a job", async () => {
    const other = await world.enrolled(api, "web-2");
    const id = await world.job(of);
    const [job] = (await poll()).jobs;
    const body = { lease: job?.lease, ok: true, result: {} };
    expect(await problemOf(await call(`/agent/v1/jobs/${id}/done`, body, other.token))).toBe(
      "409 lease_lost",
    );
  });

  it("refuses a removed host, a revoked token, a person's token and a body that isn't one", async () => {
    const path = "/agent/v1/poll";
    expect(await problemOf(await api.post(path, pollBody()))).toBe("403 forbidden");
    expect(await problemOf(await api.post(path, pollBody(), { token: null }))).toBe("401 unauthenticated");
    expect(await problemOf(await call(path, { protocol: 1 }))).toBe("400 invalid_request");
    expect(await problemOf(await call(path, pollBody({ protocol: 9 })))).toBe("400 protocol_unsupported");
    await api.delete("/api/v1/hosts/web-1");
    expect(await problemOf(await call(path, pollBody()))).toBe("401 token_revoked");
  });
});

describe("health reports", () => {
  it("are written in order, and wake the coordinator only when the state is another", async () => {
    const host = await world.enrolled(api);
    const environmentId = await world.applied(api);
    const of = { environmentId, releaseId: await world.release(environmentId), host, slot: 0 };
    const id = await world.instance(of, { reportSeq: -1, reportState: null });
    const report = async (...reports: { seq: number; state: string; cause?: string }[]) => {
      api.coordinators.asked.length = 0;
      const body = { reports: reports.map((one) => ({ instance: id, at: 1, ...one })) };
      expect((await api.post("/agent/v1/health", body, { token: host.token })).status).toBe(200);
      const [row] = await db.select().from(instances).where(eq(instances.id, id)).all();
      return {
        state: row?.reportState,
        seq: row?.reportSeq,
        cause: row?.reportCause,
        poked: api.coordinators.asked.length,
      };
    };
    expect(await report({ seq: 0, state: "starting" })).toMatchObject({
      state: "starting",
      seq: 0,
      poked: 1,
    });
    expect(await report({ seq: 2, state: "ready" })).toMatchObject({ state: "ready", seq: 2, poked: 1 });
    expect(await report({ seq: 1, state: "unready" })).toMatchObject({ state: "ready", seq: 2, poked: 0 });
    expect(await report({ seq: 3, state: "ready" })).toMatchObject({ state: "ready", seq: 3, poked: 0 });
    expect(
      await report({ seq: 4, state: "unready", cause: "503" }, { seq: 5, state: "exited", cause: "exit 1" }),
    ).toMatchObject({ state: "exited", seq: 5, cause: "exit 1", poked: 1 });
  });

  it("tell each exit by control's clock, and wake the coordinator though the instance is ready again", async () => {
    const host = await world.enrolled(api);
    const environmentId = await world.applied(api);
    const of = { environmentId, releaseId: await world.release(environmentId), host, slot: 0 };
    const id = await world.instance(of);
    const now = api.time;
    const clock = now + 3_600_000;
    const report = (seq: number, exits: number[]) =>
      api.post(
        "/agent/v1/health",
        { clock, reports: [{ instance: id, at: clock, seq, state: "ready", exits }] },
        { token: host.token },
      );
    const exitsOf = async () => (await db.select().from(instances).where(eq(instances.id, id)).get())?.exits;
    expect(await exitsOf()).toEqual([]);
    api.coordinators.asked.length = 0;
    await report(5, [clock - 9_000, clock - 2_000]);
    expect(await exitsOf()).toEqual([now - 9_000, now - 2_000]);
    expect(api.coordinators.asked).toHaveLength(1);
    await report(5, [clock - 9_000, clock - 2_000]);
    expect(api.coordinators.asked).toHaveLength(1);
  });

  it("of another host's instance change nothing", async () => {
    const [host, other] = [await world.enrolled(api), await world.enrolled(api, "web-2")];
    const environmentId = await world.applied(api);
    const of = { environmentId, releaseId: await world.release(environmentId), host, slot: 0 };
    const id = await world.instance(of);
    const body = { reports: [{ instance: id, at: 1, seq: 9, state: "exited" }] };
    await api.post("/agent/v1/health", body, { token: other.token });
    const [row] = await db.select().from(instances).where(eq(instances.id, id)).all();
    expect(row?.reportState).toBe("ready");
  });
});
