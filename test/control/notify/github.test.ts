import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { exportPKCS8, generateKeyPair } from "jose";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { deliver } from "../../../src/control/notify/deliver.ts";
import { openKeys, sealKeys, type TargetKeys } from "../../../src/control/notify/keys.ts";
import { readKeyring } from "../../../src/control/secrets/seal.ts";
import { openDb } from "../../../src/control/store/db.ts";
import { insertEvent } from "../../../src/control/store/events.ts";
import { listWebhooks, readWebhook, rekeyWebhook } from "../../../src/control/store/notify/webhooks.ts";
import { releases } from "../../../src/control/store/schema/releases.ts";
import { Api, problemOf } from "../support/api.ts";
import { GitHubStandIn, no } from "../support/github.ts";
import { Stage } from "../support/stage.ts";
import * as world from "../support/world.ts";

const SHA = "5f3c2b1a".repeat(5);
const HOME = "https://github.com/acme/shop";
const RUN = `${HOME}/actions/runs/91`;
const GIT = { sha: SHA, branch: "main", url: HOME, run: RUN };
const failure = { code: "smoke_failed", message: "GET /health answered 500, 200 wanted\nmore", logs: [] };

let api: Api;
let hub: GitHubStandIn;
let release: string;
let environmentId: string;

beforeEach(async () => {
  await world.emptyWorld();
  api = new Api(
    {},
    { SECRETS_KEY: `k1:${btoa("0123456789abcdef0123456789abcdef")}`, CONTROL_HOSTNAME: "sluice.acme.io" },
  );
  hub = new GitHubStandIn(() => api.time);
  hub.commits.add(SHA);
  vi.stubGlobal("fetch", async (input: RequestInfo, init?: RequestInit) => {
    const request = new Request(input, init);
    const { hostname, searchParams } = new URL(request.url);
    if (hostname === "1.1.1.1") return dns(searchParams);
    // The instances of a stage.
    if (hostname.endsWith(".test")) return new Response("ok");
    if (hostname === "93.184.216.34") return new Response(null, { status: 204 });
    if (hostname !== "api.github.com") throw new Error(`asked ${request.url}`);
    return hub.answer(request);
  });
  environmentId = await world.applied(api);
  release = await world.release(environmentId, { version: "v2", createdAt: api.time, git: GIT });
});
afterEach(() => vi.unstubAllGlobals());

const dns = (query: URLSearchParams) =>
  query.get("name") === "ghe.inside.io"
    ? Response.json({ Status: 0, Answer: [{ type: 1, data: "10.0.0.7" }] })
    : Response.json({ Status: 3 });

const add = async (github: object = {}, more: object = { app: "shop" }) => {
  const json = { github: { repository: "acme/shop", token: hub.token, ...github }, ...more };
  const response = await api.post("/api/v1/webhooks", json);
  expect(response.status).toBe(201);
  const view = await response.json<{ id: string; url: string; kind: string; secret: null }>();
  expect(JSON.stringify(view)).not.toMatch(/github_pat|PRIVATE/);
  return view;
};
/** A state's event, and the release as it is since then. */
async function become(state: string, message: string, more: { from?: string; release?: string } = {}) {
  const { from = null, release: id = release } = more;
  await world.db
    .update(releases)
    .set({ state: state as "live" })
    .where(eq(releases.id, id));
  await insertEvent(openDb(env.DB), {
    ...{ at: api.time, type: "release.state", actor: "token:ci", app: "shop", environment: "production" },
    ...{ environmentId, releaseId: id, message, data: { state, from } },
  });
}
/** Time goes on to each next try, as the notifier's alarm has it. */
async function tell(forMs = 60_000): Promise<void> {
  const until = api.time + forMs;
  for (let turn = 0; turn < 200; turn++) {
    const { next } = await deliver({ env: api.env, db: openDb(env.DB), now: () => api.time });
    if (next === null || next > until) break;
    api.time = Math.max(api.time, next);
  }
}
const states = () => hub.deployments.map(({ statuses }) => statuses.map(({ state }) => state));
const log = async (id: string) =>
  (await (await api.get(`/api/v1/webhooks/${id}/deliveries`)).json<{ items: Record<string, unknown>[] }>())
    .items;
const causeOf = async () => (await listWebhooks(openDb(env.DB)))[0]?.disabledCause;
async function serve(): Promise<void> {
  await become("queued", "v2: queued");
  await become("preparing", "v2: pulling", { from: "queued" });
  await become("starting", "v2: starting", { from: "preparing" });
  api.time += 64_000;
  await become("settling", "v2 serves 100 %", { from: "shifting" });
  await become("live", "v2 is live", { from: "settling" });
}

/** Keys from before they were tried at once. */
async function spoil(id: string): Promise<void> {
  const [keyring, row] = [await readKeyring(api.env), await readWebhook(openDb(env.DB), id)];
  const keys = keyring.ok && row ? await openKeys(keyring.value, row) : undefined;
  if (!keyring.ok || !row || !keys?.ok) throw new Error("its keys can't be read");
  const { token: _, ...github } = keys.value.github ?? {};
  const app = { id: "4711", installation: 77, privateKey: await shortKey() };
  const made = { ...keys.value, github: { ...github, app } as TargetKeys["github"] };
  await rekeyWebhook(openDb(env.DB), row, await sealKeys(keyring.value, id, made as TargetKeys));
}
async function shortKey(): Promise<string> {
  const publicExponent = new Uint8Array([1, 0, 1]);
  const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256", modulusLength: 1_024, publicExponent };
  const { privateKey } = (await crypto.subtle.generateKey(algorithm, true, [
    "sign",
    "verify",
  ])) as CryptoKeyPair;
  return exportPKCS8(privateKey);
}

describe("a release's Deployment at GitHub", () => {
  it("is one, of its commit and environment, and goes from in_progress to success with links", async () => {
    expect(await add()).toMatchObject({ kind: "github", url: HOME, secret: null });
    await serve();
    await tell();
    expect(states()).toEqual([["queued", "in_progress", "success"]]);
    const [made] = hub.deployments;
    expect(made?.body).toMatchObject({
      ...{ ref: SHA, environment: "production", production_environment: true, transient_environment: false },
      ...{ auto_merge: false, required_contexts: [], payload: { sluice_release: release } },
    });
    expect(made?.statuses.at(-1)).toEqual({
      state: "success",
      description: "v2 serves 100 % (by token:ci, after 64 s)",
      auto_inactive: false,
      log_url: `https://sluice.acme.io/ui/releases/${release}`,
      environment_url: "https://shop.example.com",
    });
    expect(hub.commitStatuses).toEqual([]);
  });

  it("says of one taken back why, who and how long, is inactive once it gave way, and serves again after an instant rollback", async () => {
    await add();
    const next = await world.release(environmentId, {
      version: "v3",
      createdAt: api.time,
      git: GIT,
      failure,
    });
    await serve();
    await become("preparing", "v3: pulling", { release: next });
    await become("settling", "v3 serves 100 %", { release: next });
    await become("superseded", "v2 gave its traffic away and is kept warm", { from: "live" });
    await tell();
    expect(states()).toEqual([
      ["queued", "in_progress", "success", "inactive"],
      ["in_progress", "success"],
    ]);
    await become("live", "v2 takes traffic again", { from: "superseded" });
    await become("rolled_back", "v3 is rolled back", { release: next, from: "rolling_back" });
    await tell();
    expect(states().map((all) => all.at(-1))).toEqual(["success", "failure"]);
    expect(hub.deployments[1]?.statuses.at(-1)?.description).toMatch(
      /^v3 is rolled back: GET \/health answered 500, 200 wanted \(by token:ci, after .+\)$/,
    );
  });

  it("is made for no release of another repository, without a whole commit, or that gave way before it was told of", async () => {
    await add();
    for (const git of [
      null,
      { sha: SHA },
      { sha: SHA, url: "https://github.com/evil/shop" },
      { sha: SHA, url: "https://github.com.evil.example/acme/shop" },
      { sha: "main", url: HOME },
    ]) {
      const other = await world.release(environmentId, { version: `v${crypto.randomUUID()}`, git });
      await become("preparing", "on its way", { release: other });
    }
    await become("superseded", "v2 gave way", { from: "queued" });
    await tell();
    expect(hub.asked.filter((line) => line.startsWith("POST"))).toEqual([]);
    const written = { ...GIT, url: "https://github.com/Acme/Shop.git/" };
    await world.db.update(releases).set({ git: written }).where(eq(releases.id, release));
    await become("preparing", "v2: pulling");
    await tell();
    expect(states()).toEqual([["in_progress"]]);
  });

  it.each([
    ["far too long, and of characters of two halves", "😀 broken ".repeat(60)],
    ["with lines and controls", "one\r\n\u0000two\u202e\u2028three"],
    ["with markup", "<!channel> [x](http://evil) @everyone"],
  ])("takes a forged text within GitHub's bounds: %s", async (_, forged) => {
    await add({ commitStatus: true });
    await world.db.update(releases).set({ by: forged, failure: { ...failure, message: forged } });
    await become("failed", forged);
    await tell();
    expect([states(), hub.commitStatuses.map(({ state }) => state)]).toEqual([[["failure"]], ["failure"]]);
    expect(hub.deployments[0]?.statuses[0]?.description).toMatch(/\(by .+\)$/);
  });

  it("has its app in its name where the target is of all apps", async () => {
    await add({ commitStatus: true }, {});
    await serve();
    await tell();
    expect(hub.deployments.map(({ environment }) => environment)).toEqual(["shop/production"]);
    const context = "sluice/shop/production";
    expect(hub.commitStatuses).toMatchObject([
      { sha: SHA, context, state: "pending" },
      { sha: SHA, context, state: "pending" },
      { sha: SHA, context, state: "success", target_url: `https://sluice.acme.io/ui/releases/${release}` },
    ]);
  });

  it("is left out where the commit's status is all that is wanted, which doesn't wait for ever", async () => {
    await add({ deployment: false, commitStatus: true });
    await become("queued", "v2: queued");
    await become("superseded", "v2 gave way to v3", { from: "queued" });
    await tell();
    expect(hub.deployments).toEqual([]);
    expect(hub.commitStatuses.map(({ state }) => state)).toEqual(["pending", "error"]);
  });
});

describe("a release as it really goes", () => {
  it("is told from its request to its end, by its own events", async () => {
    const stage = await Stage.open();
    await add();
    const made = await stage.create({ git: GIT });
    if (!made.ok) throw new Error(made.error.detail);
    await stage.until("v1", "settling");
    api.time = Date.now();
    await tell();
    expect(states()).toEqual([["queued", "in_progress", "in_progress", "success"]]);
    const [{ payload, statuses } = { payload: null, statuses: [] }] = hub.deployments;
    expect(payload).toEqual({ sluice_release: made.value.release });
    expect(statuses.at(-1)?.description).toMatch(/^v1 serves 100 % \(by ci/);
  });
});

describe("at least once, in order", () => {
  it("makes no second Deployment when an answer was lost, also where old ones fill a page", async () => {
    await add();
    for (let n = 0; n < 130; n++)
      hub.deployments.push({
        ...{ id: 10_000 + n, sha: SHA, environment: "production", task: "deploy", statuses: [], body: {} },
        payload: n % 2 ? '{"by":"hand"}' : "",
      });
    let cuts = 0;
    vi.stubGlobal("fetch", async (input: RequestInfo, init?: RequestInit) => {
      const request = new Request(input, init);
      const answered = await hub.answer(request);
      if (request.method === "POST" && cuts++ === 0) throw new TypeError("Network connection lost");
      return answered;
    });
    await serve();
    await tell();
    const made = hub.deployments.filter(({ id }) => id < 10_000);
    expect(made.map(({ statuses }) => statuses.map(({ state }) => state))).toEqual([
      ["queued", "in_progress", "success"],
    ]);
  });

  it("loses nothing and keeps the order when GitHub is down for an hour", async () => {
    await add();
    hub.trouble = () => new Response("<html>Unicorn!</html>", { status: 503 });
    await serve();
    await tell(3_600_000);
    hub.trouble = null;
    await tell(24 * 3_600_000);
    expect(states()).toEqual([["queued", "in_progress", "success"]]);
  });

  it("takes nothing back by an older step that is sent again", async () => {
    const { id } = await add();
    hub.commits.clear();
    await become("preparing", "v2: pulling");
    await tell(3_600_000);
    expect((await log(id))[0]).toMatchObject({
      state: "failed",
      attempts: 3,
      error: `GitHub answered 422 (No ref found for: ${SHA}): the commit is not in acme/shop; was it pushed?`,
    });
    hub.commits.add(SHA);
    await become("settling", "v2 serves 100 %");
    await tell();
    expect(await (await api.post(`/api/v1/webhooks/${id}/replay`, {})).json()).toEqual({ replayed: 1 });
    await tell();
    expect(states()).toEqual([["success"]]);
    expect((await log(id)).map(({ state }) => state)).toEqual(["delivered", "delivered"]);
  });

  it.each([
    ["retry-after", 429, { "retry-after": "600" }, "", 600_000],
    [
      "the reset of its limit",
      403,
      { "x-ratelimit-remaining": "0", "x-ratelimit-reset": "RESET" },
      "",
      900_000,
    ],
    ["a secondary limit without a time", 403, {}, "You have exceeded a secondary rate limit.", 60_000],
  ])(
    "waits as long as GitHub asks by %s, and counts it as no try",
    async (_, status, headers, says, waits) => {
      const { id } = await add();
      const at = api.time;
      const reset = String(at / 1_000 + 900);
      const entries = Object.entries(headers).map(([name, value]) => [
        name,
        value === "RESET" ? reset : value,
      ]);
      let calls = 0;
      hub.trouble = () => (calls++ === 0 ? no(status, says, { headers: Object.fromEntries(entries) }) : null);
      await become("preparing", "v2: pulling");
      const { next } = await deliver({ env: api.env, db: openDb(env.DB), now: () => api.time });
      expect(next).toBe(at + waits);
      expect(await log(id)).toMatchObject([{ state: "pending", attempts: 0, status }]);
      await tell(waits);
      expect([calls > 1, states()]).toEqual([true, [["in_progress"]]]);
    },
  );

  it("goes one at a time over all targets at GitHub, within what one run of a Worker may ask", async () => {
    for (let n = 0; n < 6; n++) await add();
    await become("preparing", "v2: pulling");
    await deliver({ env: api.env, db: openDb(env.DB), now: () => api.time });
    // Four of nine at most: of each target a look, a Deployment made or found, a status.
    expect(hub.asked.length).toBeLessThanOrEqual(12);
    await tell();
    expect(states()).toEqual([Array.from({ length: 6 }, () => "in_progress")]);
  });
});

describe("what somebody has to mend there", () => {
  type Case = [string, Partial<Pick<GitHubStandIn, "token" | "may" | "repository" | "trouble">>, string];
  const signOn = { headers: { "x-github-sso": "required" } };
  const cases: Case[] = [
    ["401", { token: "github_pat_of_another" }, "(Bad credentials): its token or key is wrong"],
    ["403", { may: [] }, "the token lacks a permission: deployments=write"],
    ["403 for sign-on", { trouble: () => no(403, "Resource protected", signOn) }, "single sign-on"],
    ["404", { repository: "acme/gone" }, "acme/shop is not there, or the token may not see it"],
    ["301", { trouble: () => no(301, "Moved Permanently") }, "acme/shop was renamed or moved"],
  ];
  it.each(cases)("ends the target aloud: %s", async (_, broken, words) => {
    const { id } = await add();
    Object.assign(hub, broken);
    await become("preparing", "v2: pulling");
    await become("failed", "v2 failed");
    await tell(3_600_000);
    expect(await causeOf()).toContain(words);
    expect(await log(id)).toMatchObject([
      { state: "pending", attempts: 0 },
      { state: "failed", attempts: 1 },
    ]);
    const { items } = await (await api.get("/api/v1/audit")).json<{ items: { type: string }[] }>();
    expect(items[0]?.type).toBe("webhook.disabled");
  });

  it("gives up one message alone that GitHub finds wrong, with its words", async () => {
    const { id } = await add();
    hub.trouble = ({ method }) => (method === "POST" ? no(422, "Validation Failed") : null);
    await become("preparing", "v2: pulling");
    await tell();
    expect((await log(id))[0]).toMatchObject({
      state: "failed",
      error: "GitHub answered 422 (Validation Failed)",
    });
    hub.trouble = null;
    await become("failed", "v2 failed");
    await tell();
    expect(states()).toEqual([["failure"]]);
  });

  it("is told by a test, which writes nothing", async () => {
    const { id } = await add();
    await api.post(`/api/v1/webhooks/${id}/test`, {});
    await tell();
    expect(hub.asked).toEqual(["GET /repos/acme/shop/deployments"]);
    expect(await log(id)).toMatchObject([{ type: "webhook.test", state: "delivered" }]);
  });

  it("is told by a test of a target that may write the commit's status alone, too", async () => {
    hub.may = ["statuses"];
    const { id } = await add({ deployment: false, commitStatus: true });
    await api.post(`/api/v1/webhooks/${id}/test`, {});
    await tell();
    expect(await log(id)).toMatchObject([{ type: "webhook.test", state: "delivered" }]);
    expect(await causeOf()).toBeNull();
  });
});

describe("a target beside GitHub", () => {
  const ELSEWHERE = "https://93.184.216.34/hook";
  const told = async (id: string) => (await log(id)).map(({ state }) => state);
  const another = async () => {
    const response = await api.post("/api/v1/webhooks", { url: ELSEWHERE });
    return (await response.json<{ id: string }>()).id;
  };

  it("waits for none of GitHub's, however many of them are due before", async () => {
    for (let n = 0; n < 12; n++) await add();
    await become("preparing", "v2: pulling");
    const id = await another();
    await become("failed", "v2 failed");
    // By the order in which they became due.
    await deliver({ env: api.env, db: openDb(env.DB), now: () => api.time });
    expect(await told(id)).toEqual(["delivered"]);
  });

  it("is told though a key at GitHub's can't sign", async () => {
    const { id: broken } = await add();
    await spoil(broken);
    const id = await another();
    await become("preparing", "v2: pulling");
    await deliver({ env: api.env, db: openDb(env.DB), now: () => api.time });
    expect(await told(id)).toEqual(["delivered"]);
    expect(await log(broken)).toMatchObject([
      { state: "pending", attempts: 1, error: expect.stringMatching(/^not sent: /) },
    ]);
  });
});

describe("a GitHub App", () => {
  const withApp = async (github: object = {}) => {
    const { privateKey, publicKey } = await generateKeyPair("RS256", { extractable: true });
    hub.appKey = publicKey;
    hub.token = "";
    const app = { id: "4711", installation: 77, privateKey: await exportPKCS8(privateKey) };
    return add({ token: undefined, app, ...github });
  };

  it("signs for a token of its installation, for this repository alone, and keeps it for its hour", async () => {
    await withApp();
    await serve();
    await tell();
    expect([states(), hub.given]).toEqual([[["queued", "in_progress", "success"]], 1]);
    expect(hub.asking).toEqual({ repositories: ["shop"], permissions: { deployments: "write" } });
    api.time += 3_590_000;
    await become("rolling_back", "v2 is taken back");
    await tell();
    expect([states()[0]?.at(-1), hub.given]).toEqual(["in_progress", 2]);
  });

  it("asks for another one where it is taken back before its time", async () => {
    await withApp();
    await become("preparing", "v2: pulling");
    await tell();
    hub.revoke();
    await become("failed", "v2 failed");
    await tell();
    expect([states(), hub.given, await causeOf()]).toEqual([[["in_progress", "failure"]], 2, null]);
  });

  it.each<[string, () => Promise<object>, string]>([
    [
      "another key",
      async () => ({ appKey: (await generateKeyPair("RS256")).publicKey }),
      "token or key is wrong",
    ],
    ["no installation", async () => ({ installation: 78 }), "installation 77 of the app is not there"],
    ["a permission that it lacks", async () => ({ may: [] }), "not granted to this installation"],
  ])("ends the target aloud: %s", async (_, broken, words) => {
    await withApp();
    Object.assign(hub, await broken());
    await become("preparing", "v2: pulling");
    await tell();
    expect(await causeOf()).toContain(words);
  });
});

describe("a target at GitHub is refused", () => {
  const token = "github_pat_0123456789abcdefghij";
  const pkcs1 = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----";
  const broken = "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----";
  it.each<[string, object]>([
    ["without a token or an app", {}],
    ["with a job's token, which ends with it", { token: `ghs_${"a".repeat(36)}` }],
    ["with a key that a Worker can't read", { app: { id: "1", installation: 1, privateKey: pkcs1 } }],
    ["with half a key", { app: { id: "1", installation: 1, privateKey: broken } }],
    ["that is no repository", { token, repository: "../../app" }],
    ["that leads inside", { token, api: "https://ghe.inside.io" }],
    ["without https", { token, api: "http://ghe.acme.io/api/v3" }],
    ["with nothing to write", { token, deployment: false }],
  ])("%s", async (_, github) => {
    const json = { github: { repository: "acme/shop", ...github } };
    expect(await problemOf(await api.post("/api/v1/webhooks", json))).toBe("400 invalid_request");
  });

  it("with a key too short to sign", async () => {
    const app = { id: "1", installation: 1, privateKey: await shortKey() };
    const refused = await api.post("/api/v1/webhooks", { github: { repository: "acme/shop", app } });
    expect([refused.status, await refused.text()]).toEqual([400, expect.stringContaining("2,048 bits")]);
  });

  it("with another secret: it signs nothing", async () => {
    const { id } = await add();
    const refused = await api.post(`/api/v1/webhooks/${id}/secret`, {});
    expect(await refused.text()).toContain("renew its token or key there");
  });
});
