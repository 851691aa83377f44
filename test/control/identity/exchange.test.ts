import { env } from "cloudflare:workers";
import { SignJWT } from "jose";
import { beforeEach, describe, expect, it } from "vitest";
import type { Problem } from "../../../src/protocol/problem.ts";
import { Api, problemOf } from "../support/api.ts";
import { GITHUB, Issuer } from "../support/issuer.ts";
import * as world from "../support/world.ts";

const ORIGIN = "https://control.test";
const IDS = { repository_id: "456", repository_owner_id: "123" };
const TRUST = {
  provider: "github",
  project: "acme/shop",
  ids: IDS,
  refs: ["refs/heads/main"],
  app: "shop",
  environment: "production",
};
/** What GitHub says of a push to main. */
const PUSH = {
  aud: ORIGIN,
  sub: "repo:acme@123/shop@456:ref:refs/heads/main",
  repository: "acme/shop",
  repository_owner: "acme",
  ...IDS,
  ref: "refs/heads/main",
  event_name: "push",
  actor: "octocat",
  run_id: "77",
  run_attempt: "1",
};

let issuer: Issuer;
let api: Api;
beforeEach(async () => {
  await world.emptyWorld();
  issuer = await Issuer.at(GITHUB);
  api = new Api({ issuers: { ask: issuer.ask, withinMs: 100 } });
  await world.applied(api);
});

const trust = async (over: Record<string, unknown> = {}) => {
  const response = await api.post("/api/v1/trusts", { ...TRUST, ...over });
  return { response, trust: await response.clone().json<{ id: string; pins: Record<string, string[]> }>() };
};
const sign = (over: Record<string, unknown> = {}, at: { kid?: string } = {}) =>
  issuer.sign({ ...PUSH, ...over }, { now: api.time, ...at });
const trade = (token: string, more: Record<string, unknown> = {}) =>
  api.post("/api/v1/oidc/exchange", { token, ...more }, { token: null });
const traded = async (token: string, more?: Record<string, unknown>) => {
  const response = await trade(token, more);
  expect(response.status, await response.clone().text()).toBe(201);
  return response.json<{ token: string; expiresAt: string; app: string; environment: string | null }>();
};
const refusal = async (token: string, more?: Record<string, unknown>) => {
  const response = await trade(token, more);
  return `${await problemOf(response)}: ${(await response.json<Problem>()).detail}`;
};

describe("a job's token", () => {
  it.each(["RS256", "ES256"] as const)(
    "signed by %s is traded for one that deploys there and nowhere else",
    async (alg) => {
      await issuer.rotate("of-that-kind", alg);
      await trust();
      const { token, expiresAt } = await traded(await sign());
      expect(Date.parse(expiresAt) - api.time).toBe(15 * 60_000);
      const release = (environment: string, app = "shop") =>
        api.post(`/api/v1/apps/${app}/envs/${environment}/releases?dryRun=1`, {}, { token });
      expect((await release("production")).status).toBe(200);
      expect(await problemOf(await release("staging"))).toBe("403 forbidden");
      expect(await problemOf(await release("production", "other"))).toBe("403 forbidden");
      const path = "/api/v1/apps/shop/envs/production/secrets";
      expect((await api.get(path, { token })).status).toBe(200);
      const secret = await api.put(`${path}/KEY`, { value: "x" }, { token });
      expect((await secret.json<Problem>()).detail).toContain("to deploy and no more");
      expect(await problemOf(await api.get("/api/v1/tokens", { token }))).toBe("403 forbidden");
    },
  );

  it("ends after 15 minutes unless the job prolongs it, and after six hours for good", async () => {
    await trust();
    const { token } = await traded(await sign());
    const renew = () => api.post("/api/v1/oidc/renew", {}, { token });
    for (let minutes = 0; minutes < 360; minutes += 10) {
      expect((await renew()).status).toBe(200);
      api.time += 10 * 60_000;
    }
    expect(await problemOf(await renew())).toBe("401 token_expired");
    const second = await traded(await sign());
    api.time += 15 * 60_000;
    const late = await api.post("/api/v1/oidc/renew", {}, { token: second.token });
    expect(await problemOf(late)).toBe("401 token_expired");
    const own = await api.post("/api/v1/oidc/renew", {}, { token: await api.token("viewer") });
    expect(await problemOf(own)).toBe("409 conflict");
  });

  it("is in the audit log with the address of its run, and its own token nowhere", async () => {
    await trust();
    const jwt = await sign();
    const { token } = await traded(jwt);
    const audit = await (await api.get("/api/v1/audit")).text();
    expect(audit).toContain("https://github.com/acme/shop/actions/runs/77");
    expect(audit).toContain("ci:github:acme/shop#77");
    for (const secret of [jwt.split(".")[2] ?? "", token.slice(4)]) {
      expect(audit).not.toContain(secret);
      for (const table of ["tokens", "events", "traded_tokens"])
        expect(JSON.stringify((await env.DB.prepare(`SELECT * FROM ${table}`).all()).results)).not.toContain(
          secret,
        );
    }
  });

  it("stops with its trust", async () => {
    const made = await trust();
    const { token } = await traded(await sign());
    expect((await api.delete(`/api/v1/trusts/${made.trust.id}`)).status).toBe(204);
    expect(await problemOf(await api.get("/api/v1/whoami", { token }))).toBe("401 token_revoked");
    expect(await refusal(await sign())).toContain("no trust names its issuer");
  });

  it("counts once, also when it comes twice at once", async () => {
    await trust();
    const token = await sign();
    const answers = await Promise.all([trade(token), trade(token), trade(token)]);
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 403, 403]);
    expect(await refusal(token)).toContain("used already, and counts once (`jti`)");
  });

  it("without a `jti` counts once, too", async () => {
    await trust();
    const token = await sign({ jti: undefined });
    await traded(token);
    expect(await refusal(token)).toContain("used already");
  });

  const minutes = (n: number) => Math.floor(api.time / 1_000) + n * 60;
  it.each<[string, () => Record<string, unknown>, string]>([
    [
      "made for another audience",
      () => ({ aud: "https://github.com/acme" }),
      "`aud`: it was made for https://github.com/acme, not for https://control.test",
    ],
    ["that has expired", () => ({ exp: minutes(-2) }), "`exp`: it expired at"],
    ["that holds only later", () => ({ nbf: minutes(2) }), "`nbf`: it holds from"],
    ["issued in the future", () => ({ iat: minutes(2) }), "`iat`: it was issued at"],
    ["that lives for years", () => ({ exp: minutes(600_000) }), "more than a day"],
    [
      "of another repository",
      () => ({ repository: "acme/blog", repository_id: "457" }),
      "no trust is for acme/blog (repository_id 457",
    ],
    [
      "of a fork",
      () => ({ repository: "mallory/shop", repository_id: "999", repository_owner_id: "666" }),
      "no trust is for mallory/shop",
    ],
    [
      "of another repository with the same name",
      () => ({ repository_id: "999" }),
      "no trust is for acme/shop (repository_id 999",
    ],
    [
      "of another owner with the same name",
      () => ({ repository_owner_id: "666" }),
      "no trust is for acme/shop",
    ],
    [
      "of another branch",
      () => ({ ref: "refs/heads/dev" }),
      "for shop/production `ref` is `refs/heads/dev`, wanted is refs/heads/main",
    ],
    ["of a tag with the branch's name", () => ({ ref: "refs/tags/main" }), "`ref` is `refs/tags/main`"],
    [
      "of a pull request",
      () => ({ ref: "refs/pull/1/merge", event_name: "pull_request" }),
      "`event_name` is `pull_request`",
    ],
    [
      "of pull_request_target, which has the branch's own ref",
      () => ({ event_name: "pull_request_target" }),
      "`event_name` is `pull_request_target`",
    ],
    ["whose id is a list", () => ({ repository_id: ["456"] }), "no trust is for"],
  ])("%s is refused, and the claim is named", async (_, over, words) => {
    await trust();
    expect(await refusal(await sign(over()))).toContain(
      `403 oidc_refused: the CI system's token opens nothing here: `,
    );
    expect(await refusal(await sign(over()))).toContain(words);
  });

  it("may be a minute early or late by another clock", async () => {
    await trust();
    await traded(await sign({ exp: minutes(0) - 50 }));
    await traded(await sign({ nbf: minutes(0) + 50, iat: minutes(0) + 50 }));
  });

  it("signed by nobody, by a shared secret or by another's key is refused without asking anybody", async () => {
    await trust();
    const part = (value: unknown) => btoa(JSON.stringify(value)).replaceAll("=", "");
    const claims = { ...PUSH, iss: GITHUB, iat: minutes(0), exp: minutes(5) };
    expect(await refusal(`${part({ alg: "none" })}.${part(claims)}.`)).toContain("signed by `none`");
    const shared = await new SignJWT(claims)
      .setProtectedHeader({ alg: "HS256", kid: "key-1" })
      .sign(new TextEncoder().encode("x".repeat(32)));
    expect(await refusal(shared)).toContain("signed by `HS256`");
    expect(await refusal("nonsense")).toContain("no JSON Web Token");
    const elsewhere = await Issuer.at("https://evil.example");
    expect(await refusal(await elsewhere.sign(PUSH, { now: api.time }))).toContain(
      "no trust names its issuer",
    );
    expect(issuer.asked).toEqual([]);
    const forged = await elsewhere.sign({ ...PUSH, iss: GITHUB }, { now: api.time });
    expect(await refusal(forged)).toContain("its signature is not by its issuer's key");
    const [head, , signature] = (await sign()).split(".");
    expect(await refusal(`${head}.${part({ ...claims, ref: "refs/heads/main" })}.${signature}`)).toContain(
      "signature",
    );
  });
});

describe("an issuer's keys", () => {
  it("are asked for once, and a made-up key id asks again at most once a minute", async () => {
    await trust();
    await traded(await sign());
    await traded(await sign());
    expect(issuer.asked).toHaveLength(2);
    api.time += 61_000;
    for (let i = 0; i < 3; i += 1)
      expect(await refusal(await sign({}, { kid: `made-up-${i}` }))).toContain("no key `made-up-");
    expect(issuer.asked).toHaveLength(4);
  });

  it("may be rotated: the new one is found, and the old one counts no more", async () => {
    await trust();
    const old = await sign();
    await traded(await sign());
    await issuer.rotate("key-2", "ES256");
    api.time += 61_000;
    await traded(await sign());
    expect(await refusal(old)).toContain("no key `key-1`");
  });

  it("that were read count while the issuer is away, and a stranger's answer is none", async () => {
    await trust();
    issuer.trouble = async () => new Response("gateway", { status: 502 });
    expect(await refusal(await sign())).toContain("503 unavailable: the keys of https://token.actions");
    expect(await refusal(await sign())).toContain("answered 502");
    issuer.trouble = async () =>
      new Response("<html>", { status: 403, headers: { "cf-mitigated": "challenge" } });
    api.time += 61_000;
    expect(await refusal(await sign())).toMatch(/answered 403: .*challenge.*Bot Fight Mode/);
    issuer.trouble = async () => {
      throw new Error("connection refused");
    };
    expect(await refusal(await sign())).toContain("can't be reached: connection refused");
    issuer.trouble = async () =>
      new Response(null, { status: 302, headers: { location: "http://10.0.0.1/" } });
    expect(await refusal(await sign())).toContain("answered 302");
    issuer.trouble = null;
    issuer.discovery = { jwks_uri: "https://evil.example/keys" };
    expect(await refusal(await sign())).toContain("names keys at another address");
    issuer.discovery = { issuer: "https://evil.example" };
    expect(await refusal(await sign())).toContain("speaks for another issuer");
    issuer.discovery = {};
    await traded(await sign());
    issuer.trouble = async () => new Response("gateway", { status: 502 });
    api.time += 2 * 3_600_000;
    await traded(await sign());
    api.time += 24 * 3_600_000;
    expect(await refusal(await sign())).toContain("503 unavailable");
  });

  it("are not waited for without end", async () => {
    await trust();
    issuer.trouble = (signal) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    expect(await refusal(await sign())).toContain("did not answer within 0.1 s");
    issuer.trouble = async () => new Response(new ReadableStream());
    expect(await refusal(await sign())).toContain("without end");
  });
});

describe("a trust", () => {
  it("is refused while ids, refs or a public https issuer are missing", async () => {
    const detail = async (over: Record<string, unknown>) => {
      const { response } = await trust(over);
      expect(response.status).toBe(400);
      return (await response.json<Problem>()).detail;
    };
    expect(await detail({ ids: {} })).toContain("repository_id and repository_owner_id must be pinned");
    expect(await detail({ refs: ["main"] })).toContain("`main` is no whole ref");
    expect(await detail({ refs: [] })).toContain("refs");
    expect(await detail({ project: "shop" })).toContain("write it as `acme/shop`");
    for (const [address, words] of [
      ["http://git.example.com/api/actions", "not https"],
      ["https://10.0.0.1/api/actions", "a number"],
      ["https://[::1]/api/actions", "a number"],
      ["https://git.internal/api/actions", "inner network"],
      ["https://localhost/api/actions", "inner network"],
      ["https://git/api/actions", "inner network"],
      ["http://127.0.0.1:3000/api/actions", "not https"],
      ["https://user@git.example.com", "no issuer's address"],
    ] as const)
      expect(await detail({ provider: "forgejo", issuer: address })).toContain(words);
    expect(await detail({ provider: "forgejo" })).toContain("its own issuer");
    expect(await detail({ provider: "circleci", ids: {} })).toContain("<organization id>/<project id>");
  });

  it("may have its ids pinned by the first token to fit, said and audited, and by no later one", async () => {
    const made = await trust({ ids: {}, pinOnFirstUse: true });
    expect(made.trust.pins).toMatchObject({ repository: ["acme/shop"] });
    expect(await refusal(await sign({ repository: "mallory/shop" }))).toContain(
      "no trust is for mallory/shop",
    );
    const both = await Promise.all([sign(), sign({ repository_id: "999" })]);
    const answers = await Promise.all(both.map((token) => trade(token)));
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 403]);
    const { items } = await (await api.get("/api/v1/trusts")).json<{ items: (typeof made.trust)[] }>();
    const [pin] = items[0]?.pins.repository_id ?? [];
    expect(["456", "999"]).toContain(pin);
    await traded(await sign({ repository_id: pin }));
    expect(await refusal(await sign({ repository_id: pin === "456" ? "999" : "456" }))).toContain(
      "no trust is for",
    );
    expect(await (await api.get("/api/v1/audit")).text()).toContain("by its first token");
  });

  it("of several is the one for what is wanted, and none is guessed", async () => {
    await trust();
    await trust({ environment: "staging" });
    expect(await refusal(await sign())).toContain("say which app and environment");
    expect((await traded(await sign(), { app: "shop", environment: "staging" })).environment).toBe("staging");
    expect(await refusal(await sign(), { app: "other" })).toContain("it fits no trust for other");
  });

  it("explains where a token differs, gives nothing and uses nothing up", async () => {
    await trust();
    await trust({ environment: "staging", refs: ["refs/heads/*"] });
    const token = await sign({ ref: "refs/heads/dev", event_name: "pull_request" });
    const explained = await (await api.post("/api/v1/oidc/explain", { token })).json<{
      problem: null;
      trusts: { environment: string; mismatches: unknown[] }[];
    }>();
    expect(explained.problem).toBeNull();
    expect(explained.trusts[0]).toMatchObject({
      environment: "staging",
      mismatches: [{ claim: "event_name", got: "pull_request" }],
    });
    const good = await sign();
    await api.post("/api/v1/oidc/explain", { token: good });
    await traded(good, { app: "shop", environment: "production" });
    const again = await api.post("/api/v1/oidc/explain", { token: good });
    expect(await again.text()).toContain("used already");
  });
});
