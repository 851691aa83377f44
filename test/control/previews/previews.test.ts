import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { beforeEach, describe, expect, it } from "vitest";
import type { CreateReleaseInput } from "../../../src/control/environment/coordinator-port.ts";
import { environments } from "../../../src/control/store/schema/environments.ts";
import { previews } from "../../../src/control/store/schema/previews.ts";
import { sweep } from "../../../src/control/sweep.ts";
import type { OpenedPreview, PullPreview } from "../../../src/protocol/api/previews/pulls.ts";
import type { Problem } from "../../../src/protocol/problem.ts";
import { Api, problemOf } from "../support/api.ts";
import { GITHUB, Issuer } from "../support/issuer.ts";
import { K1 } from "../support/vault.ts";
import * as world from "../support/world.ts";

const PREVIEWS = "{ hostname: 'pr-{number}-shop.example.com', ttl: 3d, max: 2 }";
const manifest = (previews = PREVIEWS, more = "") =>
  world.manifest("shop", `    previews: ${previews}\n${more}`);
const IMAGE = "ghcr.io/acme/shop:pr";
const DAY = 86_400_000;
const ALL = "/api/v1/apps/shop/previews";
const { db } = world;

let api: Api;
let issuer: Issuer;
let host: Awaited<ReturnType<typeof world.enrolled>>;

beforeEach(async () => {
  await world.emptyWorld();
  issuer = await Issuer.at(GITHUB);
  api = new Api({ issuers: { ask: issuer.ask, withinMs: 100 } }, { SECRETS_KEY: K1 });
  api.coordinators.release = released;
  host = await world.enrolled(api, "web-1", 6);
  await seen();
  expect((await api.apply("shop", manifest())).status).toBe(200);
});

/** As the coordinator does: the same key is the same release. */
async function released(input: CreateReleaseInput, environmentId: string): Promise<string> {
  const version = `v${Math.random()}`;
  return world.release(environmentId, {
    version,
    state: "queued",
    image: input.image ?? "",
    createdAt: api.time,
  });
}
const seen = () => env.DB.prepare("UPDATE hosts SET last_seen_at = ?").bind(api.time).run();
const up = (number: number, more: object = {}, call = {}) =>
  api.post(ALL, { number, image: IMAGE, ...more }, call);
const down = (number: number, query = "", call = {}) => api.delete(`${ALL}/${number}${query}`, call);
const opened = async (response: Response) => {
  expect(response.status, await response.clone().text()).toBe(202);
  return response.json<OpenedPreview>();
};
const refusal = async (response: Response) =>
  `${await problemOf(response)}: ${(await response.json<Problem>()).detail}`;
const list = async (call = {}) => (await (await api.get(ALL, call)).json<{ items: PullPreview[] }>()).items;
const named = async (name: string) => (await db.select().from(environments)).find((row) => row.name === name);
const row = async (number: number) => (await db.select().from(previews)).find((one) => one.number === number);
/** What the coordinator does when nothing of it runs any more. */
async function gone(name: string): Promise<void> {
  const id = (await named(name))?.id ?? "";
  await db
    .update(environments)
    .set({ deletedAt: api.time, name: `${name}~${id}` })
    .where(eq(environments.id, id));
  await env.DB.prepare("DELETE FROM hostnames WHERE environment_id = ?").bind(id).run();
}
const tick = () => sweep(api.env, api.time);

/** Trusts pull requests, and answers the token of a job of one. */
async function jobOf(number: number, claims: Record<string, unknown> = {}): Promise<string> {
  const ids = { repository_id: "456", repository_owner_id: "123" };
  const asked = { provider: "github", project: "acme/shop", ids, app: "shop", action: "preview" };
  await api.post("/api/v1/trusts", asked, { headers: { "idempotency-key": "one" } });
  const jwt = await issuer.sign(
    {
      ...{ aud: "https://control.test", repository: "acme/shop", ...ids, event_name: "pull_request" },
      ...{ ref: `refs/pull/${number}/merge`, run_id: "100", ...claims },
    },
    { now: api.time },
  );
  const response = await api.post("/api/v1/oidc/exchange", { token: jwt }, { token: null });
  expect(response.status, await response.clone().text()).toBe(201);
  return (await response.json<{ token: string }>()).token;
}

describe("a pull request's preview", () => {
  it("is an environment of its own, released to, and said with its address and its end", async () => {
    const git = { sha: "c0ffee", branch: "feature/ümläut-$(id)`x`" };
    const { preview, release } = await opened(
      await up(12, { git, url: "https://github.com/acme/shop/pull/12" }),
    );
    expect(preview).toMatchObject({
      ...{ number: 12, environment: "pr-12", url: "https://pr-12-shop.example.com", state: "waiting", git },
      pull: "https://github.com/acme/shop/pull/12",
    });
    expect(Date.parse(preview.expiresAt) - api.time).toBe(3 * DAY);
    expect(release).toMatchObject({ environment: "pr-12", image: IMAGE });
    expect(await list()).toEqual([preview]);
    const audit = await (await api.get("/api/v1/audit")).text();
    expect(audit).toContain("the preview of pull request 12 is made until");
  });

  it("stays for another while with each push, in the same environment", async () => {
    const first = await opened(await up(12));
    api.time += 2 * DAY;
    await seen();
    const second = await opened(await up(12, { image: `${IMAGE}2` }));
    expect(second.release.id).not.toBe(first.release.id);
    expect(Date.parse(second.preview.expiresAt) - Date.parse(first.preview.expiresAt)).toBe(2 * DAY);
    expect(second.preview.createdAt).toBe(first.preview.createdAt);
    expect(api.coordinators.of("createRelease").map(({ environment }) => environment)).toEqual([
      ...Array(2).fill((await row(12))?.environmentId),
    ]);
  });

  it("of one that has traffic already waits for that, and takes any other's place", async () => {
    const asked: string[] = [];
    api.coordinators.release = async (input, environment) => {
      asked.push(input.whenBusy);
      return released(input, environment);
    };
    await opened(await up(12));
    expect(asked).toEqual(["supersede"]);
    api.coordinators.refusal = { code: "release_in_progress", detail: "v1 is taking traffic already" };
    await up(12);
    expect(api.coordinators.of("createRelease").slice(-2)).toMatchObject([
      { input: { whenBusy: "supersede" } },
      { input: { whenBusy: "queue" } },
    ]);
  });

  it("is refused beyond as many as there may be, also of several at once, and not when it is renewed", async () => {
    const answers = await Promise.all([1, 2, 3, 4, 5].map((number) => up(number)));
    const refused = answers.filter(({ status }) => status !== 202);
    expect(refused.length).toBe(3);
    for (const answer of refused)
      expect(await refusal(answer)).toContain(
        "409 conflict: shop has 2 previews, as many as its manifest allows",
      );
    const [one] = await list();
    expect((await up(one?.number ?? 0)).status).toBe(202);
    expect((await db.select().from(environments)).length).toBe(3);
  });

  it("is renewed where the manifest allows fewer by now, and no other is opened", async () => {
    await opened(await up(1));
    await opened(await up(2));
    await api.apply("shop", manifest(PREVIEWS.replace("max: 2", "max: 1")));
    await opened(await up(1));
    expect(await refusal(await up(3))).toContain("shop has 1 previews, as many as its manifest allows");
  });

  it("is refused in words, and nothing is made, where no slot is free, no host is online, or a secret has no value", async () => {
    await env.DB.prepare("UPDATE slots SET environment_id = 'env_other'").run();
    expect(await refusal(await up(12))).toMatch(/^409 no_slots: .*none found a free slot/);
    api.time += 10 * 60_000;
    expect(await refusal(await up(12))).toMatch(/^409 no_hosts: .*offline/);
    await seen();
    await env.DB.prepare("UPDATE slots SET environment_id = NULL").run();
    await api.apply("shop", manifest(`{ hostname: 'pr-{number}-shop.example.com', secrets: [DB] }`));
    const lacking = await up(12);
    expect((await lacking.clone().json<Problem>()).next[0]?.command).toBe(
      "sluice secrets set DB -a shop -e production --previews",
    );
    expect(await problemOf(lacking)).toBe("409 secrets_missing");
    expect(await named("pr-12")).toBeUndefined();
    expect(await list()).toEqual([]);
    const path = "/api/v1/apps/shop/envs/production/secrets/DB?previews=1";
    expect((await api.put(path, { value: "postgres://preview" })).status).toBe(200);
    await opened(await up(12));
  });

  it("of another repository's image is refused with the way to allow it", async () => {
    const refused = await up(12, { image: "evil.example/shop:1" });
    expect(await refused.json()).toMatchObject({
      next: [{ command: "sluice apply", when: expect.stringContaining("`previews.image`") }],
    });
  });

  it("of what is none is refused, with what is wrong of it", async () => {
    const wrong: [object, string][] = [
      [
        { image: "evil.example/shop:1" },
        "400 invalid_request: previews run images of ghcr.io/acme/shop alone",
      ],
      [{ fork: true }, "403 forbidden: the pull request comes from a fork"],
      [{ image: undefined }, "400 invalid_request"],
      [{ number: 0 }, "400 invalid_request"],
      [{ number: 1.5 }, "400 invalid_request"],
      [{ number: "12" }, "400 invalid_request"],
      [{ number: 1e12 }, "400 invalid_request"],
      [{ url: "javascript:alert(1)" }, "400 invalid_request"],
      [{ git: { sha: "1", branch: "x".repeat(256) } }, "400 invalid_request"],
    ];
    for (const [input, words] of wrong) expect(await refusal(await up(12, input))).toContain(words);
    for (const path of ["0", "012", "-1", "1%2F2", "x"])
      expect([400, 404]).toContain((await api.delete(`${ALL}/${path}`)).status);
    expect(await list()).toEqual([]);
  });

  it("of a fork is opened where the manifest says so", async () => {
    await api.apply("shop", manifest("{ hostname: 'pr-{number}-shop.example.com', forks: true }"));
    expect((await up(12, { fork: true })).status).toBe(202);
  });

  it("is refused where the manifest has no previews, the hostname is another's, or its grant was taken back", async () => {
    expect(
      await refusal(await api.post("/api/v1/apps/other/previews", { number: 1, image: IMAGE })),
    ).toContain("404 not_found: no environment of other has `previews`");
    const other = world.manifest("other").replace("other.example.com", "pr-7-shop.example.com");
    await api.apply("other", other);
    expect(await refusal(await up(7))).toContain(
      "409 hostname_taken: pr-7-shop.example.com belongs to other/production",
    );
    expect((await api.delete("/api/v1/apps/shop/hostnames/pr-%7Bnumber%7D-shop.example.com")).status).toBe(
      204,
    );
    expect(await refusal(await up(8))).toContain("403 hostname_not_granted");
  });
});

describe("of two runs of one pull request", () => {
  it("the newer wins, whichever comes last", async () => {
    await opened(await up(12, { run: 101, image: `${IMAGE}-new` }));
    expect(await refusal(await up(12, { run: 100, image: `${IMAGE}-old` }))).toContain(
      "409 stale_step: the preview of pull request 12 is a newer one's",
    );
    // The same run asks again: a job that is tried anew.
    expect((await up(12, { run: 101 })).status).toBe(202);
    expect((await up(12)).status).toBe(202);
    expect((await row(12))?.run).toBe(101);
  });

  it("one that began before it was closed opens it no more, and one that closed it late closes no newer one", async () => {
    await opened(await up(12, { run: 100 }));
    expect((await down(12, "?run=102")).status).toBe(202);
    await gone("pr-12");
    expect(await refusal(await up(12, { run: 101 }))).toContain("was closed since");
    await opened(await up(12, { run: 103 }));
    expect(await refusal(await down(12, "?run=102"))).toContain(
      "409 stale_step: run 103 was here after run 102",
    );
    expect((await row(12))?.closedAt).toBeNull();
  });

  it("both at the same time end as one environment with one hostname", async () => {
    const answers = await Promise.all([up(12, { run: 5 }), up(12, { run: 5 }), up(12, { run: 5 })]);
    expect(answers.map(({ status }) => status)).toEqual([202, 202, 202]);
    expect((await db.select().from(environments)).length).toBe(2);
  });
});

describe("taking a preview down", () => {
  it("ends its environment, and twice is once; one that never was is not there", async () => {
    await opened(await up(12));
    const first = await (await down(12)).json<{ ending: { environment: string } | null }>();
    expect(first.ending).toMatchObject({ app: "shop", environment: "pr-12" });
    expect((await down(12)).status).toBe(202);
    const ends = api.coordinators.of("destroy");
    expect(ends.map(({ environment }) => environment)).toEqual([(await row(12))?.environmentId]);
    await gone("pr-12");
    expect(await (await down(12)).json()).toEqual({ ending: null });
    expect(await (await down(99)).json()).toEqual({ ending: null });
    expect(await list()).toEqual([]);
  });

  it("while it goes it can't be opened, says so, and then is made anew", async () => {
    const before = await opened(await up(12));
    await down(12);
    const ending = { at: api.time, by: "admin" };
    await db.update(environments).set({ ending }).where(eq(environments.name, "pr-12"));
    const busy = await up(12);
    expect(busy.headers.get("retry-after")).toBe("5");
    expect(await refusal(busy)).toContain("is still being taken down");
    expect(await list()).toMatchObject([{ number: 12, state: "down" }]);
    await gone("pr-12");
    const after = await opened(await up(12));
    expect(after.release.id).not.toBe(before.release.id);
    expect(await list()).toMatchObject([{ number: 12, state: "waiting" }]);
  });
});

describe("the sweep", () => {
  it("takes down what has expired, and leaves what was renewed", async () => {
    await opened(await up(1));
    await opened(await up(2));
    api.time += 2 * DAY;
    await seen();
    await opened(await up(2));
    api.time += DAY + 1;
    await tick();
    expect(await list()).toMatchObject([
      { number: 1, state: "down", cause: "its time is over" },
      { number: 2, state: "waiting", cause: null },
    ]);
    await tick();
    const told = api.coordinators.of("destroy").map(({ environment }) => environment);
    expect([...new Set(told)]).toEqual([(await row(1))?.environmentId]);
  });

  it.each([
    [
      "the environment it was made after is gone",
      () => db.update(environments).set({ deletedAt: 1 }).where(eq(environments.name, "production")),
    ],
    ["its manifest has no previews any more", () => api.apply("shop", world.manifest("shop"))],
    ["its environment is gone", () => gone("pr-1")],
  ])("takes one down when %s", async (_, happens) => {
    await opened(await up(1));
    await happens();
    await tick();
    expect((await row(1))?.closedCause).not.toBeNull();
  });

  it("takes one down that nothing was ever released to, and not at once", async () => {
    api.coordinators.refusal = { code: "locked", detail: "locked by ann" };
    expect((await up(1)).status).toBe(423);
    await tick();
    expect((await row(1))?.closedAt).toBeNull();
    api.time += 16 * 60_000;
    await tick();
    expect(await row(1)).toMatchObject({ closedCause: "nothing was ever released to it" });
  });

  it("finds an environment without its row, and tells one again that was closed and not told", async () => {
    await opened(await up(1));
    await opened(await up(2));
    await env.DB.prepare("DELETE FROM previews WHERE number = 1").run();
    await env.DB.prepare("UPDATE previews SET closed_at = 1, closed_cause = 'asked'").run();
    api.time = Math.ceil((api.time + DAY) / 3_600_000) * 3_600_000;
    await tick();
    const told = api.coordinators.of("destroy").map(({ environment }) => environment);
    const ids = [(await named("pr-1"))?.id, (await named("pr-2"))?.id];
    expect([...new Set(told)].sort()).toEqual(ids.sort());
  });

  it("drops all that is left of one after a month, but for the audit log's chain", async () => {
    await opened(await up(1));
    const id = (await named("pr-1"))?.id ?? "";
    await down(1);
    await gone("pr-1");
    api.time = Math.ceil((api.time + 31 * DAY) / 3_600_000) * 3_600_000;
    await tick();
    for (const table of ["environments", "releases", "events", "previews"]) {
      const { results } = await env.DB.prepare(`SELECT * FROM ${table}`).all();
      expect(JSON.stringify(results), table).not.toContain(id);
    }
    const chain = await env.DB.prepare("SELECT count(*) AS n FROM audit_links WHERE environment_id = ?")
      .bind(id)
      .first<{ n: number }>();
    expect(chain?.n).toBeGreaterThan(0);
  });
});

describe("a manifest that is applied", () => {
  it("leaves previews as they are, and neither takes their hostnames nor their names", async () => {
    await opened(await up(12));
    const staging = "  staging: { hostnames: [staging.example.com] }\n";
    expect((await api.apply("shop", manifest(PREVIEWS, staging))).status).toBe(200);
    expect((await named("pr-12"))?.deletedAt).toBeNull();
    const taking = "  staging: { hostnames: [pr-12-shop.example.com] }\n";
    expect(await refusal(await api.apply("shop", manifest(PREVIEWS, taking)))).toContain(
      "409 hostname_taken: pr-12-shop.example.com belongs to the preview of pull request 12",
    );
    const called = "  pr-3: { hostnames: [x.example.com] }\n";
    expect(await refusal(await api.apply("shop", manifest(PREVIEWS, called)))).toContain(
      "has a name that previews",
    );
    expect(await list()).toMatchObject([{ number: 12, state: "waiting" }]);
  });

  it("is granted its previews' hostnames with its own, or not at all", async () => {
    const token = await api.token("deployer", { app: "shop" });
    const other = PREVIEWS.replace("pr-", "preview-");
    expect(await problemOf(await api.apply("shop", manifest(other), { token }))).toBe(
      "403 hostname_not_granted",
    );
    const { granted } = await (await api.apply("shop", manifest(other))).json<{ granted: string[] }>();
    expect(granted).toEqual(["preview-{number}-shop.example.com"]);
    expect((await api.apply("shop", manifest(other), { token })).status).toBe(200);
  });
});

describe("a pull request's job without a secret", () => {
  it("opens, follows and closes its own preview, and may do nothing else", async () => {
    const token = await jobOf(12);
    const { release } = await opened(await up(12, {}, { token }));
    const reads = [`/api/v1/releases/${release.id}`, "/api/v1/apps/shop/envs/pr-12", ALL];
    for (const path of reads) expect((await api.get(path, { token })).status, path).toBe(200);
    const refused = [
      api.get("/api/v1/apps/shop/envs/production", { token }),
      api.get("/api/v1/apps/shop/envs/pr-13", { token }),
      api.get("/api/v1/apps", { token }),
      api.get("/api/v1/audit", { token }),
      api.get("/api/v1/tokens", { token }),
      api.get("/api/v1/apps/shop/envs/pr-12/logs", { token }),
      api.apply("shop", manifest(), { token }),
      api.post("/api/v1/apps/shop/envs/production/releases", { image: IMAGE }, { token }),
      api.post("/api/v1/apps/shop/envs/pr-12/releases", { image: "evil.example/x:1" }, { token }),
      api.post("/api/v1/apps/shop/envs/pr-12/runs", { command: ["env"] }, { token }),
      api.put("/api/v1/apps/shop/envs/pr-12/secrets/A", { value: "x" }, { token }),
      api.put("/api/v1/apps/shop/envs/production/weights", { v1: 100 }, { token }),
      api.delete("/api/v1/apps/shop/envs/pr-12?confirm=shop/pr-12", { token }),
      api.post("/api/v1/apps/other/previews", { number: 12, image: IMAGE }, { token }),
    ];
    for (const answer of await Promise.all(refused)) expect(await problemOf(answer)).toBe("403 forbidden");
    expect((await api.post("/api/v1/oidc/renew", {}, { token })).status).toBe(200);
    expect((await down(12, "", { token })).status).toBe(202);
  });

  it("has no other pull request's, whatever number it says", async () => {
    await opened(await up(13));
    const token = await jobOf(12);
    expect(await refusal(await up(13, {}, { token }))).toContain(
      "403 forbidden: ci:github:acme/shop#100 is a job of pull request 12, and may have that preview alone",
    );
    expect(await refusal(await down(13, "", { token }))).toContain("is a job of pull request 12");
    expect(await list({ token })).toEqual([]);
  });

  it("has the number of its run from its token, whatever it says", async () => {
    await opened(await up(12, {}, { token: await jobOf(12, { run_id: "200" }) }));
    const older = await jobOf(12, { run_id: "199" });
    expect(await problemOf(await up(12, { run: 999 }, { token: older }))).toBe("409 stale_step");
  });

  it("gets no token for a branch, another event, or a fork, which has a repository of its own", async () => {
    for (const claims of [
      { ref: "refs/heads/main" },
      { ref: "refs/pull/x/merge" },
      { event_name: "push" },
      { event_name: "pull_request_target", ref: "refs/heads/main" },
      { repository_id: "789", repository_owner_id: "9" },
    ])
      await expect(jobOf(12, claims), JSON.stringify(claims)).rejects.toThrow();
  });

  it("is the only thing that a pull request may be trusted for", async () => {
    const ids = { repository_id: "456", repository_owner_id: "123" };
    const trust = (more: object) =>
      api.post("/api/v1/trusts", {
        provider: "github",
        project: "acme/shop",
        ids,
        app: "shop",
        refs: ["**"],
        ...more,
      });
    for (const more of [
      { events: ["pull_request"] },
      { events: ["pull_request_target"] },
      { events: ["pull_request"], action: "any" },
      { events: ["pull_request"], role: "viewer" },
      { claims: { event_name: "pull_request" } },
      { refs: ["refs/pull/*/merge"] },
    ])
      expect(await refusal(await trust(more))).toContain("may have a preview and nothing else");
    for (const more of [
      { action: "preview", refs: ["refs/heads/main"] },
      { action: "preview", refs: [], events: ["push"] },
      { action: "preview", refs: [], claims: { event_name: "push" } },
      { action: "preview", refs: [], environment: "production" },
      { action: "preview", refs: [], role: "viewer" },
      { action: "preview", refs: [], provider: "gitlab", ids: { project_id: "1", namespace_id: "2" } },
    ])
      expect((await trust(more)).status).toBe(400);
    expect((await trust({ action: "preview", refs: [] })).status).toBe(201);
  });

  it("deploys no more by a trust of before, which named the event", async () => {
    const ids = { repository_id: "456", repository_owner_id: "123" };
    await api.post("/api/v1/trusts", {
      provider: "github",
      project: "acme/shop",
      ids,
      app: "shop",
      refs: ["**"],
    });
    await env.DB.prepare(
      "UPDATE trusts SET pins = json_set(pins, '$.event_name', json('[\"pull_request\"]'))",
    ).run();
    await expect(jobOfOld()).rejects.toThrow("no pull request's");
    async function jobOfOld() {
      const claims = {
        aud: "https://control.test",
        ...ids,
        event_name: "pull_request",
        ref: "refs/pull/1/merge",
      };
      const jwt = await issuer.sign(claims, { now: api.time });
      const answer = await api.post("/api/v1/oidc/exchange", { token: jwt }, { token: null });
      if (!answer.ok) throw new Error((await answer.json<Problem>()).detail);
    }
  });
});

it("a stored token for previews has all of them, and nothing else", async () => {
  const asked = { name: "pr", role: "deployer", app: "shop", action: "preview" };
  const { token } = await (await api.post("/api/v1/tokens", asked)).json<{ token: string }>();
  await opened(await up(12, {}, { token }));
  await opened(await up(13, {}, { token }));
  expect((await list({ token })).length).toBe(2);
  expect(await problemOf(await api.apply("shop", manifest(), { token }))).toBe("403 forbidden");
  expect(host.host.name).toBe("web-1");
});
