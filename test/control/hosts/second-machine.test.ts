import { eq } from "drizzle-orm";
import { beforeEach, describe, expect, it } from "vitest";
import { instances } from "../../../src/control/store/schema/instances.ts";
import { rotateAnswerSchema } from "../../../src/protocol/agent/enroll.ts";
import { doctorSchema } from "../../../src/protocol/api/doctor.ts";
import { hostSchema } from "../../../src/protocol/api/hosts.ts";
import { Api, problemOf } from "../support/api.ts";
import * as world from "../support/world.ts";

let api: Api;
let host: Awaited<ReturnType<typeof world.enrolled>>;
let token: string;
beforeEach(async () => {
  await world.emptyWorld();
  api = new Api();
  host = await world.enrolled(api);
  token = host.token;
});

const poll = (boot: string, as = token) => {
  api.time += 1_000;
  return api.post("/agent/v1/poll", world.pollBody({ boot }), { token: as });
};
const statuses = async (...boots: string[]) => {
  const answers: number[] = [];
  for (const boot of boots) answers.push((await poll(boot)).status);
  return answers;
};
const show = async () => hostSchema.parse(await (await api.get("/api/v1/hosts/web-1")).json());
const doctor = async () => {
  const { checks } = doctorSchema.parse(await (await api.get("/api/v1/doctor")).json());
  return checks.find(({ id }) => id === "host.token");
};

describe("an agent's token on two machines", () => {
  it("is one machine's as long as processes only follow each other", async () => {
    expect(await statuses("a", "a", "b", "b", "c")).toEqual([200, 200, 200, 200, 200]);
    expect((await show()).sharedAt).toBeNull();
    expect((await doctor())?.status).toBe("ok");
  });

  it("is noticed when the one before speaks again: whoever came second gets nothing from then on", async () => {
    expect(await statuses("a", "copy", "a", "copy", "a", "copy")).toEqual([200, 200, 200, 409, 200, 409]);
    expect(await problemOf(await poll("copy"))).toBe("409 conflict");
    expect((await show()).sharedAt).toBe(new Date(api.time).toISOString());
    expect(await doctor()).toMatchObject({ status: "fail", subject: "web-1" });
    api.time += 25 * 3_600_000;
    await poll("a");
    expect((await doctor())?.status).toBe("ok");
  });

  it("is noticed again when the second one is started anew", async () => {
    expect(await statuses("a", "copy", "a", "copy-2", "copy", "a", "copy-2")).toEqual([
      ...[200, 200, 200, 200, 409, 200, 409],
    ]);
  });

  it("leaves what the first one says: the second one's reports are not written", async () => {
    await statuses("a", "copy", "a");
    const environmentId = await world.applied(api);
    const releaseId = await world.release(environmentId);
    const id = await world.instance({ environmentId, releaseId, host, slot: 0 });
    const report = (boot: string, state: string, seq: number) =>
      api.post("/agent/v1/health", { boot, reports: [{ instance: id, seq, state, at: 1 }] }, { token });
    expect((await report("a", "ready", 1)).status).toBe(200);
    expect((await report("copy", "gone", 99)).status).toBe(200);
    const row = await world.db.select().from(instances).where(eq(instances.id, id)).get();
    expect(row?.reportState).toBe("ready");
  });
});

describe("a rotated token that is used late", () => {
  it("is refused, and said with the host", async () => {
    const answer = await api.post("/agent/v1/rotate", {}, { token });
    const next = rotateAnswerSchema.parse(await answer.json()).token;
    expect((await poll("a", next)).status).toBe(200);
    expect((await show()).staleTokenAt).toBeNull();
    for (const path of ["/agent/v1/poll", "/agent/v1/tunnel"]) {
      api.time += 1_000;
      expect(await problemOf(await api.post(path, world.pollBody(), { token }))).toBe("401 token_revoked");
      expect((await show()).staleTokenAt).toBe(new Date(api.time).toISOString());
    }
    expect(await doctor()).toMatchObject({ status: "warn", subject: "web-1" });
  });
});
