import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { beforeEach, describe, expect, it } from "vitest";
import { hosts } from "../../../src/control/store/schema/hosts.ts";
import { slots } from "../../../src/control/store/schema/slots.ts";
import { tokens } from "../../../src/control/store/schema/tokens.ts";
import { enrollAnswerSchema } from "../../../src/protocol/agent/enroll.ts";
import type { Problem } from "../../../src/protocol/problem.ts";
import { Api, problemOf } from "../support/api.ts";
import * as world from "../support/world.ts";

const { db, enrollBody, pollBody } = world;

let api: Api;
beforeEach(async () => {
  await world.emptyWorld();
  api = new Api();
});

const detailOf = async (response: Response) => (await response.json<Problem>()).detail;

describe("enrolling a host", () => {
  const oneTimeToken = async (body: Record<string, unknown> = {}) => {
    const response = await api.post("/api/v1/hosts/enrollments", { name: "web-1", slots: 3, ...body });
    return (await response.json<{ token: string }>()).token;
  };
  const enroll = (token: string, more: Record<string, unknown> = {}) =>
    api.post("/agent/v1/enroll", enrollBody(token, more), { token: null });

  it("makes the host, its slots with their origins, and a token of its own", async () => {
    const response = await enroll(await oneTimeToken({ labels: { tier: "web" } }));
    const answer = enrollAnswerSchema.parse(await response.json());
    expect(answer.slots).toEqual([
      { slot: 0, hostPort: 20_000, origin: "http://127.0.0.1:20000" },
      { slot: 1, hostPort: 20_001, origin: "http://127.0.0.1:20001" },
      { slot: 2, hostPort: 20_002, origin: "http://127.0.0.1:20002" },
    ]);
    expect(await db.select().from(slots).all()).toHaveLength(3);
    const [host] = await db.select().from(hosts).all();
    expect(host).toMatchObject({ name: "web-1", labels: { tier: "web" }, runtime: "docker" });
    expect((await api.post("/agent/v1/poll", pollBody(), { token: answer.token })).status).toBe(200);
  });

  it("keeps no token readable in the database", async () => {
    const oneTime = await oneTimeToken();
    const { token } = await (await enroll(oneTime)).json<{ token: string }>();
    for (const table of ["tokens", "enrollments", "events", "hosts"]) {
      const text = JSON.stringify((await env.DB.prepare(`SELECT * FROM ${table}`).all()).results);
      expect(text).not.toContain(token);
      expect(text).not.toContain(oneTime);
    }
  });

  it("lets exactly one of many agents use a token, however close they come", async () => {
    const token = await oneTimeToken();
    const responses = await Promise.all(Array.from({ length: 8 }, () => enroll(token)));
    const statuses = responses.map(({ status }) => status).sort();
    expect(statuses).toEqual([200, 403, 403, 403, 403, 403, 403, 403]);
    expect(await db.select().from(hosts).all()).toHaveLength(1);
    expect(await db.select().from(tokens).where(eq(tokens.role, "agent")).all()).toHaveLength(1);
  });

  it("tells an unknown, a used and an expired token apart", async () => {
    expect(await detailOf(await enroll(`sle_${"x".repeat(43)}`))).toContain("does not know");
    const token = await oneTimeToken();
    await enroll(token);
    const used = await enroll(token);
    expect(await problemOf(used)).toBe("403 enrollment_invalid");
    expect(await detailOf(used)).toContain("was used already");
    const old = await oneTimeToken({ name: "web-2", expiresInMinutes: 1 });
    api.time += 60_000;
    expect(await detailOf(await enroll(old))).toContain("expired at");
  });

  it("refuses a name that is enrolled, when asked for a token and when one is used", async () => {
    const [first, second] = [await oneTimeToken(), await oneTimeToken()];
    await enroll(first);
    expect(await problemOf(await enroll(second))).toBe("409 conflict");
    const again = await api.post("/api/v1/hosts/enrollments", { name: "web-1" });
    expect(await problemOf(again)).toBe("409 conflict");
  });

  it.each([
    [undefined, 409, "makes no tunnels (it has no CLOUDFLARE_API_TOKEN, no CLOUDFLARE_ACCOUNT_ID"],
    ["http://10.0.0.1:8080", 400, "scheme and host only"],
    ["http://10.0.0.1/app", 400, "scheme and host only"],
    ["ftp://10.0.0.1", 400, "scheme and host only"],
  ])("refuses the origin %s and leaves the token unused", async (originBase, status, words) => {
    const token = await oneTimeToken();
    const response = await enroll(token, { originBase });
    expect(response.status).toBe(status);
    expect(await detailOf(response)).toContain(words);
    expect((await enroll(token)).status).toBe(200);
  });

  it("names both protocols when the agent speaks another one", async () => {
    const response = await enroll(await oneTimeToken(), { protocol: 2 });
    expect(await problemOf(response)).toBe("400 protocol_unsupported");
    expect(await detailOf(response)).toContain("speaks protocol 2, control speaks 1");
  });
});
