import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import type { Problem } from "../../../src/protocol/problem.ts";
import { ADMIN_TOKEN, Api, problemOf } from "../support/api.ts";
import * as world from "../support/world.ts";

let api: Api;
beforeEach(async () => {
  await world.emptyWorld();
  api = new Api();
});

const ENVIRONMENT = "/api/v1/apps/shop/envs/production";

describe("a token", () => {
  it("is told apart as missing, unknown, expired and revoked", async () => {
    const path = "/api/v1/apps";
    expect(await problemOf(await api.get(path, { token: null }))).toBe("401 unauthenticated");
    expect(await problemOf(await api.get(path, { token: "nonsense" }))).toBe("401 unauthenticated");
    expect(await problemOf(await api.get(path, { token: `slu_${"x".repeat(43)}` }))).toBe(
      "401 unauthenticated",
    );
    const expiring = await api.token("viewer");
    expect((await api.get(path, { token: expiring })).status).toBe(200);
    api.time += 90 * 86_400_000;
    expect(await problemOf(await api.get(path, { token: expiring }))).toBe("401 token_expired");
    const revoked = await api.token("viewer");
    const { items } = await (await api.get("/api/v1/tokens")).json<{ items: { id: string }[] }>();
    await api.delete(`/api/v1/tokens/${items[0]?.id}`);
    expect(await problemOf(await api.get(path, { token: revoked }))).toBe("401 token_revoked");
    for (const token of [expiring, revoked]) {
      const { next } = await (await api.get(path, { token })).json<Problem>();
      expect(next).toEqual([
        { command: "sluice token create ci --role viewer", when: "an administrator makes a new one" },
      ]);
    }
  });

  it("stops working with the very next request after it was revoked", async () => {
    const created = await api.post("/api/v1/tokens", { name: "ci", role: "viewer" });
    const { id, token } = await created.json<{ id: string; token: string }>();
    expect((await api.get("/api/v1/apps", { token })).status).toBe(200);
    await api.delete(`/api/v1/tokens/${id}`);
    expect((await api.get("/api/v1/apps", { token })).status).toBe(401);
  });

  it("lies in the database only as its hash, and is in no list and no event", async () => {
    const token = await api.token("deployer");
    for (const table of ["tokens", "events", "idempotency"])
      expect(JSON.stringify((await env.DB.prepare(`SELECT * FROM ${table}`).all()).results)).not.toContain(
        token,
      );
    for (const path of ["/api/v1/tokens", "/api/v1/audit"])
      expect(await (await api.get(path)).text()).not.toContain(token.slice(4));
  });

  it("of the first administrator comes from the environment, and from nowhere when that is not set", async () => {
    expect((await api.get("/api/v1/tokens", { token: ADMIN_TOKEN })).status).toBe(200);
    const closed = new Api({}, { ADMIN_TOKEN_SHA256: "" });
    expect(await problemOf(await closed.get("/api/v1/tokens"))).toBe("401 unauthenticated");
  });
});

describe("who may do what", () => {
  const asks = {
    status: ["GET", ENVIRONMENT],
    apply: ["PUT", "/api/v1/apps/shop"],
    release: ["POST", `${ENVIRONMENT}/releases`],
    rollback: ["POST", `${ENVIRONMENT}/rollback`],
    weights: ["PUT", `${ENVIRONMENT}/weights`],
    hosts: ["GET", "/api/v1/hosts"],
    enroll: ["POST", "/api/v1/hosts/enrollments"],
    tokens: ["GET", "/api/v1/tokens"],
    audit: ["GET", "/api/v1/audit"],
    poll: ["POST", "/agent/v1/poll"],
  } as const;
  type Ask = keyof typeof asks;
  const bodies: Partial<Record<Ask, unknown>> = {
    release: {},
    rollback: {},
    weights: { v1: 100 },
    enroll: { name: "web-9" },
    poll: world.pollBody(),
  };

  const matrix: [string, string, { app?: string; environment?: string }, Ask[]][] = [
    ["viewer", "everything", {}, ["status", "hosts", "audit"]],
    ["deployer", "everything", {}, ["status", "apply", "release", "rollback", "weights", "hosts", "audit"]],
    [
      "admin",
      "everything",
      {},
      ["status", "apply", "release", "rollback", "weights", "hosts", "enroll", "tokens", "audit"],
    ],
    ["viewer", "its app", { app: "shop" }, ["status", "audit"]],
    ["deployer", "its app", { app: "shop" }, ["status", "apply", "release", "rollback", "weights", "audit"]],
    ["admin", "its app", { app: "shop" }, ["status", "apply", "release", "rollback", "weights", "audit"]],
    [
      "deployer",
      "its environment",
      { app: "shop", environment: "production" },
      ["status", "release", "rollback", "weights", "audit"],
    ],
    ["deployer", "another environment", { app: "shop", environment: "staging" }, ["audit"]],
    ["admin", "another app", { app: "other" }, ["audit"]],
  ];

  it.each(matrix)("a %s of %s %j may exactly %j", async (role, _, scope, allowed) => {
    await world.applied(api);
    const token = await api.token(role, scope);
    const results = await Promise.all(
      (Object.keys(asks) as Ask[]).map(async (ask) => {
        const [method, path] = asks[ask];
        const call = ask === "apply" ? { text: world.manifest(), token } : { json: bodies[ask], token };
        return { ask, status: (await api.call(method, path, call)).status };
      }),
    );
    expect(results.filter(({ status }) => status !== 403).map(({ ask }) => ask)).toEqual(allowed);
  });

  it("an agent may do its own work and nothing of a person's", async () => {
    const { token } = await world.enrolled(api);
    for (const ask of ["status", "hosts", "audit", "tokens"] as const) {
      const [method, path] = asks[ask];
      expect(await problemOf(await api.call(method, path, { token }))).toBe("403 forbidden");
    }
    expect((await api.post("/agent/v1/poll", world.pollBody(), { token })).status).toBe(200);
  });

  it("a refusal names the role and scope that the token has, and those it needs", async () => {
    await world.applied(api);
    const token = await api.token("viewer", { app: "shop", environment: "staging" });
    const response = await api.post(`${ENVIRONMENT}/releases`, {}, { token });
    const { detail, next } = await response.json<Problem>();
    expect(detail).toBe(
      "token:viewer-token has the role viewer for shop/staging: this needs deployer for shop/production",
    );
    expect(next[0]?.command).toBe("sluice token create ci --role deployer --app shop --env production");
  });

  it("lists show a scoped token only what is in its scope", async () => {
    await world.applied(api, "shop");
    await world.applied(api, "other");
    const token = await api.token("viewer", { app: "other" });
    const apps = await (await api.get("/api/v1/apps", { token })).json<{ items: { app: string }[] }>();
    expect(apps.items.map(({ app }) => app)).toEqual(["other"]);
    const audit = await (await api.get("/api/v1/audit", { token })).json<{ items: { app: string }[] }>();
    expect(new Set(audit.items.map(({ app }) => app))).toEqual(new Set(["other"]));
  });
});

describe("the rate limit", () => {
  it("lets a token through as often as it says, then tells when to come back", async () => {
    const tight = new Api({ perMinute: { people: 3, agents: 3 } });
    const get = () => tight.get("/api/v1/apps");
    const first = await get();
    expect(first.headers.get("ratelimit-policy")).toBe('"default";q=3;w=60');
    const left = [first, await get(), await get()].map((response) => response.headers.get("ratelimit"));
    expect(left.every((value) => /^"default";r=\d;t=\d+$/.test(value ?? ""))).toBe(true);
    const limited: Response[] = [];
    for (let i = 0; i < 4; i += 1) limited.push(await get());
    const last = limited.at(-1);
    expect(last && (await problemOf(last))).toBe("429 rate_limited");
    expect(Number(last?.headers.get("retry-after"))).toBeGreaterThan(0);
    tight.time += 60_000;
    expect((await get()).status).toBe(200);
  });

  it("lets any number of enrolled agents come back at once from one address", async () => {
    const hosts = await Promise.all(["a", "b", "c", "d", "e"].map((name) => world.enrolled(api, name)));
    const tight = new Api({ perMinute: { people: 2, agents: 2 } });
    for (const { token } of hosts)
      expect((await tight.post("/agent/v1/poll", world.pollBody(), { token })).status).toBe(200);
  });

  it("gives made-up tokens one bucket together, and leaves a good one its own", async () => {
    const tight = new Api({ perMinute: { people: 20, agents: 20 } });
    expect((await tight.get("/api/v1/apps")).status).toBe(200);
    const strangers = Array.from({ length: 30 }, (_, i) => `slu_${String(i).padStart(43, "x")}`);
    const codes: number[] = [];
    for (const token of strangers) codes.push((await tight.get("/api/v1/apps", { token })).status);
    expect(codes.at(-1)).toBe(429);
    expect((await tight.get("/api/v1/apps")).status).toBe(200);
  });
});
