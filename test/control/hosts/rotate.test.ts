import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { tokens } from "../../../src/control/store/schema/tokens.ts";
import { rotateAnswerSchema } from "../../../src/protocol/agent/enroll.ts";
import { pollAnswerSchema } from "../../../src/protocol/agent/poll.ts";
import { hostSchema } from "../../../src/protocol/api/hosts.ts";
import { Api, problemOf } from "../support/api.ts";
import { countQueries } from "../support/count-queries.ts";
import * as world from "../support/world.ts";

let api: Api;
let token: string;
beforeEach(async () => {
  await world.emptyWorld();
  api = new Api();
  token = (await world.enrolled(api)).token;
});

const poll = (as: string) => api.post("/agent/v1/poll", world.pollBody(), { token: as });
const isAskedToRotate = async (as: string) =>
  pollAnswerSchema.parse(await (await poll(as)).json()).rotate ?? false;
const rotated = async (as: string) =>
  rotateAnswerSchema.parse(await (await api.post("/agent/v1/rotate", {}, { token: as })).json()).token;
const ask = async () => hostSchema.parse(await (await api.post("/api/v1/hosts/web-1/rotate", {})).json());
const rotateAt = async () => hostSchema.parse(await (await api.get("/api/v1/hosts/web-1")).json()).rotateAt;
const valid = async () =>
  (await world.db.select().from(tokens).all()).filter(({ revokedAt }) => revokedAt === null).length;

describe("an agent's token", () => {
  it("is renewed when a person asks: the agent is told so until it uses the new one", async () => {
    expect(await isAskedToRotate(token)).toBe(false);
    expect((await ask()).rotateAt).not.toBeNull();
    expect(await isAskedToRotate(token)).toBe(true);
    const next = await rotated(token);
    expect(await isAskedToRotate(token)).toBe(true);
    expect(await isAskedToRotate(next)).toBe(false);
    expect(await rotateAt()).toBeNull();
    expect(await isAskedToRotate(next)).toBe(false);
  });

  it("counts until the new one is first used, and then no more", async () => {
    const next = await rotated(token);
    expect((await poll(token)).status).toBe(200);
    expect((await poll(next)).status).toBe(200);
    expect(await problemOf(await poll(token))).toBe("401 token_revoked");
    expect((await poll(next)).status).toBe(200);
    expect(await valid()).toBe(1);
  });

  it.each([
    ["a health report", "/agent/v1/health", { reports: [{ instance: "i", seq: 1, state: "ready", at: 1 }] }],
    ["the next rotation", "/agent/v1/rotate", {}],
  ])("also ends when the new one is first used for %s", async (_what, path, body) => {
    const next = await rotated(token);
    expect((await api.post(path, body, { token: next })).status).toBe(200);
    expect(await problemOf(await poll(token))).toBe("401 token_revoked");
  });

  it("is asked for again after a lost answer: what was lost is worth nothing then", async () => {
    const lost = await rotated(token);
    const next = await rotated(token);
    expect(await problemOf(await poll(lost))).toBe("401 token_revoked");
    expect((await poll(token)).status).toBe(200);
    expect((await poll(next)).status).toBe(200);
    expect(await valid()).toBe(1);
  });

  it("survives two first uses at the same moment", async () => {
    const next = await rotated(token);
    const answers = await Promise.all(Array.from({ length: 5 }, () => poll(next)));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    const { items } = await (await api.get("/api/v1/audit")).json<{ items: { type: string }[] }>();
    expect(items.filter(({ type }) => type === "host.rotated")).toHaveLength(1);
  });

  it("is renewed without being asked when it is 90 days old, and again 90 days later", async () => {
    api.time += 90 * 86_400_000 - 1;
    expect(await isAskedToRotate(token)).toBe(false);
    api.time += 1;
    expect(await isAskedToRotate(token)).toBe(true);
    const next = await rotated(token);
    expect(await isAskedToRotate(next)).toBe(false);
    api.time += 90 * 86_400_000;
    expect(await isAskedToRotate(next)).toBe(true);
  });

  it("can't be renewed by a person, a removed host or a revoked token", async () => {
    expect(await problemOf(await api.post("/agent/v1/rotate", {}))).toBe("403 forbidden");
    const next = await rotated(token);
    await poll(next);
    expect(await problemOf(await api.post("/agent/v1/rotate", {}, { token }))).toBe("401 token_revoked");
    await api.delete("/api/v1/hosts/web-1");
    expect(await problemOf(await poll(next))).toBe("401 token_revoked");
    expect(await valid()).toBe(0);
  });

  it("is rotated by administrators only, and a removed host's not at all", async () => {
    const viewer = await api.token("viewer");
    const refused = await api.post("/api/v1/hosts/web-1/rotate", {}, { token: viewer });
    expect(await problemOf(refused)).toBe("403 forbidden");
    expect(await problemOf(await api.post("/api/v1/hosts/none/rotate", {}))).toBe("404 not_found");
  });

  it("costs the poll after the first use no more than one query again", async () => {
    const next = await rotated(token);
    await poll(next);
    const { counted, DB } = countQueries(env.DB);
    const counting = new Api({}, { DB });
    counting.time = api.time;
    await counting.post("/agent/v1/poll", world.pollBody(), { token: next });
    expect(counted.queries).toBe(1);
  });
});

describe("what a host says of itself", () => {
  const facts = {
    os: "Debian 12",
    arch: "x64",
    node: "v24.1.0",
    engine: { version: "27.1", apiVersion: "1.46", storageDriver: "overlay2" },
    disk: { path: "/var/lib/docker", totalBytes: 100, freeBytes: 40 },
    tunnel: { state: "connected", version: "2026.8.2", configVersion: 3, readyConnections: 4 },
  };
  const show = async () => hostSchema.parse(await (await api.get("/api/v1/hosts/web-1")).json());

  it("is shown with the host, and kept while later polls say nothing", async () => {
    expect(await show()).toMatchObject({ facts: null, factsAt: null });
    await api.post("/agent/v1/poll", world.pollBody({ facts }), { token });
    const at = new Date(api.time).toISOString();
    api.time += 60_000;
    await poll(token);
    expect(await show()).toMatchObject({ facts, factsAt: at });
  });

  it("costs a poll no query more", async () => {
    const { counted, DB } = countQueries(env.DB);
    const counting = new Api({}, { DB });
    counting.time = api.time;
    await counting.post("/agent/v1/poll", world.pollBody({ facts }), { token });
    expect(counted.queries).toBe(1);
  });

  it("is left out when a later version of it can't be read", async () => {
    await env.DB.prepare(`UPDATE hosts SET facts = '{"planet": "Mars"}'`).run();
    expect((await show()).facts).toBeNull();
  });
});
