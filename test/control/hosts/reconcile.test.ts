import { eq } from "drizzle-orm";
import { beforeEach, describe, expect, it } from "vitest";
import { events } from "../../../src/control/store/schema/events.ts";
import { instances } from "../../../src/control/store/schema/instances.ts";
import type { EnrollAnswer } from "../../../src/protocol/agent/enroll.ts";
import { type PollAnswer, pollAnswerSchema } from "../../../src/protocol/agent/poll.ts";
import { Api } from "../support/api.ts";
import { countQueries } from "../support/count-queries.ts";
import * as world from "../support/world.ts";

const { db, pollBody } = world;

let api: Api;
let of: { environmentId: string; releaseId: string; host: EnrollAnswer };
beforeEach(async () => {
  await world.emptyWorld();
  api = new Api();
  const host = await world.enrolled(api);
  const environmentId = await world.applied(api);
  of = { environmentId, releaseId: await world.release(environmentId), host };
});

async function poll(body: Record<string, unknown> = {}): Promise<PollAnswer> {
  api.coordinators.asked.length = 0;
  const response = await api.post("/agent/v1/poll", pollBody(body), { token: of.host.token });
  expect(response.status).toBe(200);
  return pollAnswerSchema.parse(await response.json());
}
const report = (boot: string, ...reports: Record<string, unknown>[]) =>
  api.post(
    "/agent/v1/health",
    { boot, reports: reports.map((one) => ({ at: 1, ...one })) },
    { token: of.host.token },
  );
const rowOf = (id: string) => db.select().from(instances).where(eq(instances.id, id)).get();
const stateOf = async (id: string) => (await rowOf(id))?.reportState;
const pokes = () => api.coordinators.of("poke").length;

describe("a poll is held against what is written of its host", () => {
  it("puts a state right whose report was lost, whatever numbers an earlier boot had reached", async () => {
    const id = await world.instance({ ...of, slot: 0 }, { reportSeq: 0 });
    await report("boot-1", { instance: id, seq: 7, state: "unready", cause: "frozen" });
    expect(await stateOf(id)).toBe("unready");
    await poll({ boot: "boot-2", seq: 0, instances: [{ instance: id, state: "ready" }] });
    expect(await stateOf(id)).toBe("ready");
    expect(pokes()).toBe(1);
    await report("boot-2", { instance: id, seq: 1, state: "unready" });
    expect(await stateOf(id)).toBe("unready");
  });

  it("says of one that the agent does not list that it is gone, and why", async () => {
    const id = await world.instance({ ...of, slot: 0 });
    await poll({ seq: 0 });
    expect(await rowOf(id)).toMatchObject({
      reportState: "gone",
      reportCause: "it is not on its host any more",
    });
    expect(pokes()).toBe(1);
  });

  it("concludes nothing from a list that the agent could not check, nor for what is only starting or stopping", async () => {
    const ids = [
      await world.instance({ ...of, slot: 0 }, { state: "starting", reportState: "starting" }),
      await world.instance({ ...of, slot: 1 }, { state: "stopping" }),
    ];
    await poll({ seq: 3 });
    const serving = await world.instance({ ...of, slot: 2 });
    await poll();
    for (const id of [ids[1], serving]) expect(await stateOf(String(id))).toBe("ready");
    expect(await stateOf(String(ids[0]))).toBe("starting");
  });

  it("believes a report that was made after the list", async () => {
    const id = await world.instance({ ...of, slot: 0 }, { reportState: null });
    await report("boot-1", { instance: id, seq: 5, state: "ready" });
    await poll({ seq: 4 });
    await poll({ seq: 5, instances: [{ instance: id, state: "unready", seq: 4 }] });
    expect(await stateOf(id)).toBe("ready");
  });

  it("counts an instance as not ready since it first was not, however often it was started since", async () => {
    const id = await world.instance({ ...of, slot: 0 }, { reportAt: api.time });
    const down = api.time + 5_000;
    api.time = down;
    await report("boot-1", { instance: id, seq: 1, state: "exited" });
    for (const [seq, state] of [
      [2, "starting"],
      [3, "exited"],
    ]) {
      api.time += 10_000;
      await report("boot-1", { instance: id, seq, state });
    }
    expect((await rowOf(id))?.reportAt).toBe(down);
  });

  it("costs an idle poll one query, and nobody is woken", async () => {
    const { counted, DB } = countQueries(api.env.DB);
    const id = await world.instance({ ...of, slot: 0 });
    const listed = { seq: 3, instances: [{ instance: id, state: "ready", seq: 0 }] };
    await poll(listed);
    const idle = new Api({}, { DB });
    await idle.post("/agent/v1/poll", pollBody(listed), { token: of.host.token });
    expect(counted.queries).toBe(1);
    expect(pokes()).toBe(0);
  });
});

describe("the feed", () => {
  const told = async () =>
    (await db.select().from(events).where(eq(events.type, "instance.state")).orderBy(events.id)).map(
      ({ message }) => message,
    );

  it("says of a serving instance that it ended, why, and when it answers again: once each", async () => {
    const id = await world.instance({ ...of, slot: 0 }, { state: "serving", reportState: "ready" });
    const seen = (seq: number, state: string, cause?: string) =>
      report("boot-1", { instance: id, seq, state, ...(cause && { cause }) });
    await seen(1, "exited", "shop v1 was ended by SIGKILL; restart 1 in 1 s");
    await seen(1, "exited", "shop v1 was ended by SIGKILL; restart 1 in 1 s");
    await seen(2, "starting", "restart 1");
    await seen(3, "exited", "restart failed: the disk is full");
    await seen(4, "starting", "restart 2");
    expect(await told()).toEqual([
      expect.stringMatching(/^\S+ on \S+ ended: shop v1 was ended by SIGKILL; restart 1 in 1 s$/),
    ]);
    await poll({ boot: "boot-1", seq: 5, instances: [{ instance: id, state: "ready", seq: 5 }] });
    await seen(5, "ready");
    expect((await told()).slice(1)).toEqual([expect.stringMatching(/^\S+ on \S+ answers again$/)]);
  });

  it("says nothing of one that is being started or stopped: its release does", async () => {
    const starting = await world.instance({ ...of, slot: 0 }, { state: "starting", reportState: "starting" });
    const stopping = await world.instance({ ...of, slot: 1 }, { state: "stopping" });
    await report("boot-1", { instance: starting, seq: 1, state: "ready" });
    await report("boot-1", { instance: stopping, seq: 2, state: "exited" });
    expect(await told()).toEqual([]);
  });
});

describe("a poll's answer that got lost", () => {
  it("is no lease: the job goes out again with the next poll of the same boot", async () => {
    const id = await world.job(of);
    const [lost] = (await poll({ jobs: [] })).jobs;
    const [job] = (await poll({ jobs: [] })).jobs;
    expect(job).toMatchObject({ id });
    expect(job?.lease).not.toBe(lost?.lease);
    expect((await poll({ jobs: [id] })).jobs).toEqual([]);
  });
});

describe("an agent that takes only some kinds of job", () => {
  it("gets those, and later the others", async () => {
    const pull = await world.job(of);
    const stop = await world.job(of, { kind: "stop", payload: { instance: "ins-1", graceMs: 0 } });
    expect((await poll({ takes: ["start", "stop"] })).jobs.map(({ id }) => id)).toEqual([stop]);
    expect((await poll({ takes: ["pull"] })).jobs.map(({ id }) => id)).toEqual([pull]);
  });
});
