import { env } from "cloudflare:workers";
import { beforeEach, expect, it } from "vitest";
import { environments } from "../../../src/control/store/schema/environments.ts";
import { recordVerdicts } from "../../../src/control/store/verdicts.ts";
import type { Approval } from "../../../src/domain/approval/approval.ts";
import { canaryConfig, decide, init } from "../../../src/domain/canary/index.ts";
import { ADMIN_TOKEN, Api } from "../support/api.ts";
import { countQueries } from "../support/count-queries.ts";
import * as world from "../support/world.ts";

let api: Api;

beforeEach(async () => {
  await world.emptyWorld();
  api = new Api();
});

const HTML = { accept: "text/html" };
const show = async (path: string, token: string | null = ADMIN_TOKEN) => {
  const response = await api.get(path, { headers: HTML, token });
  return { response, text: await response.text() };
};

/** Rows as 100 apps × 3 environments × 50 releases leave them. */
async function crowd(): Promise<void> {
  const model = await world.applied(api);
  const { spec } = (await world.db.select().from(environments).all()).find(({ id }) => id === model) ?? {};
  const insert = async (table: string, columns: string, select: string) =>
    env.DB.prepare(`INSERT INTO ${table} (${columns}) ${select}`).run();
  const numbers = (n: number, name: string) =>
    `(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${n}) SELECT i FROM n) ${name}`;
  const quoted = `'${JSON.stringify(spec).replaceAll("'", "''")}'`;
  await insert(
    "apps",
    "id, name, manifest, created_at, updated_at",
    `SELECT 'app_' || a.i, 'app-' || a.i, '', 1, 1 FROM ${numbers(99, "a")}`,
  );
  await insert(
    "environments",
    "id, app_id, name, spec, rev, fence, stable_release_id, salt, preview_key, mode, next_version, created_at",
    `SELECT 'env_' || a.i || '_' || e.i, 'app_' || a.i, 'stage-' || e.i, ${quoted}, 0, 0, 'rel_' || a.i || '_' || e.i || '_50', 's', '00', '{"kind":"open"}', 1, 1
     FROM ${numbers(99, "a")}, ${numbers(3, "e")}`,
  );
  await insert(
    "releases",
    "id, environment_id, version, image, state, kind, spec, by, weight_bp, created_at, state_since, timings, hold, instances_made, ended_at",
    `SELECT 'rel_' || a.i || '_' || e.i || '_' || r.i, 'env_' || a.i || '_' || e.i, 'v' || r.i, 'x', iif(r.i = 50, 'live', 'superseded'), 'deploy', ${quoted}, 'ci', iif(r.i = 50, 10000, 0), r.i, 1, '{}', 0, 0, 2
     FROM ${numbers(99, "a")}, ${numbers(3, "e")}, ${numbers(50, "r")}`,
  );
}

it("the first page shows 100 apps in 3 environments with 50 releases each: 3 trips to D1, within a second, below 100 kB", async () => {
  await crowd();
  const { counted, DB } = countQueries(env.DB);
  api = new Api({}, { DB });
  await show("/");
  const before = counted.queries;
  const start = performance.now();
  const { response, text } = await show("/");
  const took = performance.now() - start;
  expect(response.status).toBe(200);
  expect(text.match(/class="env"/g)).toHaveLength(298);
  console.log(`overview: ${text.length} bytes, ${Math.round(took)} ms, ${counted.queries - before} trips`);
  expect(counted.queries - before).toBeLessThanOrEqual(3);
  expect(text.length).toBeLessThan(100_000);
  // A machine that does much else has its better moments, too.
  const again = async () => {
    const start = performance.now();
    await show("/");
    return performance.now() - start;
  };
  if (took >= 1_000) await expect.poll(again).toBeLessThan(1_000);
});

it("every page holds to a policy without anything inline or from elsewhere", async () => {
  const environment = await world.applied(api);
  const id = await world.release(environment, { weightBp: 10_000 });
  for (const path of [
    "/",
    "/login",
    "/ui/hosts",
    "/ui/audit",
    "/ui/settings",
    "/ui/dora?days=7",
    "/ui/apps/shop/production/runs",
    "/ui/apps/shop/production/logs?release=v1",
    "/ui/apps/shop/production",
    "/ui/apps/shop/production/moves/rollback",
    "/ui/apps/shop/production/moves/weight",
    `/ui/apps/shop/production/compare?a=${id}&b=v1`,
    `/ui/releases/${id}`,
  ]) {
    const { response, text } = await show(path);
    expect(`${path} ${response.status}`).toBe(`${path} 200`);
    const policy = response.headers.get("content-security-policy");
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toContain("unsafe");
    expect(text).not.toMatch(
      / style=| on\w+=|<style|<script(?! src="\/assets\/)|https?:\/\/(?!www\.w3\.org)/,
    );
  }
});

it("what an app calls itself is shown as text, whatever it is made of", async () => {
  const environment = await world.applied(api);
  const message = "<script>alert(1)</script>\u202egnp.exe";
  const failure = { code: "deadline", message, logs: ["</pre><img src=x onerror=alert(1)>"] };
  const id = await world.release(environment, { state: "failed", failure, endedAt: api.time, weightBp: 0 });
  for (const path of ["/", `/ui/releases/${id}`, "/ui/apps/shop/production"]) {
    const { text } = await show(path);
    expect(text).not.toContain("<script>alert");
    expect(text).not.toContain("<img");
  }
  expect((await show("/")).text).toContain(
    "<bdi>v1: &lt;script&gt;alert(1)&lt;/script&gt;\u202egnp.exe</bdi>",
  );
});

/** A verdict as the judge writes it, of one side that fails on one route of one host. */
const judgedAt = (at: number, words: string) => {
  const decision = decide(init(new Array(112).fill(0), canaryConfig({}), []));
  const culprit = {
    ...{ route: "POST /checkout/<b>", host: "web-2", logE: 20 },
    canary: { requests: 41, errors: 37 },
    baseline: { requests: 380, errors: 0 },
    failed: { id: "4f0c8a52-1d7e-4b-9k", instance: "rel-1", since: at },
  };
  return { window: at, at, words, decision: { ...decision, culprits: [culprit] } };
};
const ROUTE =
  '<bdi>POST /checkout/&lt;b&gt;</bdi></th><td>web-2 only</td><td data-label="on v2">37 of 41</td><td data-label="on stable">0 of 380</td>';

it("a canary's page says where it fails: the route, the host, and both sides' counts", async () => {
  const environment = await world.applied(api);
  await world.release(environment, { weightBp: 9_000, endedAt: api.time });
  const failedRequest = {
    ...{
      id: "4f0c8a52-1d7e-4b-9k",
      instance: "rel-1",
      since: api.time,
      route: "POST /checkout",
      host: "web-2",
    },
    ...{ until: api.time, found: { lines: ["4f0c8a52-1d7e-4b-9k: no <cart>"], note: null } },
  };
  const row = {
    version: "v2",
    weightBp: 1_000,
    state: "shifting",
    startedAt: api.time,
    failedRequest,
  } as const;
  const id = await world.release(environment, row);
  await recordVerdicts(world.db, id, [judgedAt(api.time, "not enough data yet: errors 2 % against 0 %")]);
  for (const path of ["/ui/apps/shop/production", `/ui/releases/${id}`]) {
    const { text } = await show(path);
    expect(text).toContain(ROUTE);
    expect(text).toContain("<bdi>errors 2 % against 0 %</bdi>");
  }
  expect((await show(`/ui/releases/${id}`)).text).toContain("4f0c8a52-1d7e-4b-9k: no &lt;cart&gt;");
  const answer = await api.get(`/api/v1/releases/${id}/verdicts`);
  expect(await answer.json()).toMatchObject({
    items: [{ failedRequest: { route: "POST /checkout", lines: ["4f0c8a52-1d7e-4b-9k: no <cart>"] } }],
  });
});

it("a canary's page says which fields it answers otherwise, and what control asked itself", async () => {
  const environment = await world.applied(api);
  await world.release(environment, { weightBp: 9_000, endedAt: api.time });
  const row = { version: "v2", weightBp: 1_000, state: "shifting", startedAt: api.time } as const;
  const id = await world.release(environment, row);
  const words = "no errors; v2 answers otherwise than stable: GET /cart; if meant, mirror: { ignore: […] }";
  const { decision, ...judged } = judgedAt(api.time, words);
  const synthetic = { canary: 21, baseline: 1_190, isJudged: true };
  const says = async (numbers: object) => {
    await recordVerdicts(world.db, id, [{ ...judged, decision: { ...decision, ...numbers } }]);
    return (await show("/ui/apps/shop/production")).text;
  };
  expect(await says({})).not.toContain("mirrored answers");
  expect(await says({ answersCompared: 1_200, synthetic })).toContain(
    "1,200 mirrored answers compared: no field is different for v2 alone so far.",
  );
  const field = { route: "GET /cart", field: "$.<b>", answers: 276, canary: 270, stable: 0 };
  const text = await says({
    answersCompared: 276,
    differing: { named: [field], more: 2 },
    synthetic: { ...synthetic, isJudged: false },
  });
  expect(text).toContain(
    '<bdi>$.&lt;b&gt;</bdi></td><td>differs in 270 of 276</td><td data-label="stable from itself">in 0</td>',
  );
  expect(text).toContain("276 mirrored answers compared; 2 more fields differ.");
  expect(text).toContain("<bdi>no errors</bdi>");
  expect(text).toContain("nothing is done by it; if meant, mirror: { ignore: [&quot;$.&lt;b&gt;&quot;] }.");
  expect(text).toContain("Besides, control made 21 of v2 and 1,190 of stable itself (load)");
});

it("after its switch a release's page says how it compares with what served before, and not how it did until then", async () => {
  const environment = await world.applied(api);
  const servingAt = api.time - 60_000;
  const id = await world.release(environment, { version: "v2", weightBp: 10_000, servingAt });
  await env.DB.prepare("UPDATE environments SET stable_release_id = ?").bind(id).run();
  await recordVerdicts(world.db, id, [judgedAt(servingAt - 10_000, "of its canary")]);
  expect((await show("/ui/apps/shop/production")).text).not.toContain("of its canary");
  await recordVerdicts(world.db, id, [judgedAt(servingAt + 10_000, "of its watch")]);
  const { text } = await show("/ui/apps/shop/production");
  expect(text).toContain("v2 against what served before it");
  expect(text).toContain("of its watch");
  expect(text).toContain(ROUTE);
  const whole = (await show(`/ui/releases/${id}`)).text;
  expect(whole).toContain("of its canary");
  expect(whole).toContain("of its watch");
});

it("a page without a sign-in leads to the login and back, a script gets a problem", async () => {
  const { response } = await show("/ui/apps/shop/production?x=1", null);
  expect(response.status).toBe(303);
  expect(response.headers.get("location")).toBe("/login?&next=%2Fui%2Fapps%2Fshop%2Fproduction%3Fx%3D1");
  const asked = await api.get("/ui/hosts", { token: null });
  expect(asked.headers.get("content-type")).toContain("problem+json");
});

it("who may not make a move is told who may, on the page and by a refusal of the form", async () => {
  const environment = await world.applied(api);
  await world.release(environment, { weightBp: 10_000 });
  const viewer = await api.token("viewer");
  const { text } = await show("/ui/apps/shop/production/moves/weight", viewer);
  expect(text).toContain("This needs the role deployer for shop/production.");
  expect(text).toMatch(/<button[^>]* disabled/);
  const sent = await api.call("POST", "/ui/apps/shop/production/moves/weight", {
    token: viewer,
    headers: HTML,
  });
  expect(sent.status).toBe(403);
  expect(await sent.text()).toContain("this needs deployer for shop/production");
});

const WAITING: Approval = {
  ...{ gate: "release", step: null, subject: "sha256:1", needed: 1, given: [] },
  ...{ askedAt: 0, deadlineAt: 2_000_000_000_000 },
};

/** What stands in the list of what needs somebody, line by line. */
const needsOf = (text: string): string[] =>
  [...(/<ul class="needs".*?<\/ul>/s.exec(text)?.[0] ?? "").matchAll(/<li>(.*?)<\/li>/gs)].map(
    ([, line = ""]) => line.replaceAll(/<[^>]*>/g, "|").replaceAll(/\|+/g, "|"),
  );

it("what is broken stands before what waits, of each the newest first; many hosts that are away are one line", async () => {
  const { time } = api;
  for (const [app, row] of Object.entries({
    waits: { state: "preparing", approval: { ...WAITING, askedAt: time - 1_000 }, weightBp: 0 },
    asks: {
      state: "shifting",
      paused: { at: time, by: "sluice", reason: "waits to be promoted", until: null },
      weightBp: 0,
    },
    older: {
      state: "failed",
      failure: { code: "deadline", message: "too late", logs: [] },
      endedAt: time - 60_000,
      weightBp: 0,
    },
    newer: {
      state: "rolled_back",
      failure: { code: "deadline", message: "worse", logs: [] },
      endedAt: time - 5_000,
      weightBp: 0,
    },
    down: { state: "live", weightBp: 10_000 },
  } as const))
    await world.release(await world.applied(api, app), row);
  for (let n = 1; n <= 4; n++) await world.enrolled(api, `web-${n}`);
  api.time = time + 180_000;
  const lines = needsOf((await show("/")).text);
  expect(lines.map((line) => line.split("|").slice(1, 3).join(" "))).toEqual([
    "down down / production",
    "hosts offline 4 hosts",
    "rolled back newer / production",
    "failed older / production",
    "waits for you asks / production",
    "waits for you waits / production",
  ]);
  expect(lines[1]).toContain("web-1, web-2, web-3 and 1 more");
  expect(lines[5]).toContain("waits for approval before anything of it runs");
});

it("hosts that need a look stand first, the others by their numbers", async () => {
  for (const name of ["web-10", "web-2", "away"]) {
    const { token } = await world.enrolled(api, name);
    if (name === "away") continue;
    await api.post("/agent/v1/poll", world.pollBody(), { token });
  }
  await env.DB.prepare("UPDATE hosts SET last_seen_at = 1 WHERE name = 'away'").run();
  const { text } = await show("/ui/hosts");
  expect([...text.matchAll(/<th scope="row">([^<]*)/g)].map(([, name]) => name)).toEqual([
    "away",
    "web-2",
    "web-10",
  ]);
  expect(text).toContain("1 of 3 hosts is offline");
  expect(text).toContain("journalctl -u sluice-agent");
});

it("an environment without a release says how the first is made, one with many leads to all of them, page by page", async () => {
  const environment = await world.applied(api);
  const home = "/ui/apps/shop/production";
  expect((await show(home)).text).toContain(
    "<code>sluice deploy -a shop -e production</code> makes the first",
  );
  await world.release(environment, {
    id: "rel_0",
    version: "v0",
    state: "superseded",
    createdAt: 1,
    endedAt: 1,
  });
  await env.DB.prepare(
    `INSERT INTO releases (id, environment_id, version, image, state, kind, spec, by, weight_bp, created_at, state_since, timings, hold, instances_made, ended_at)
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
     SELECT 'rel_' || i, environment_id, 'v' || i, image, state, kind, spec, by, weight_bp, i + 1, 1, '{}', 0, 0, 1 FROM releases, n`,
  ).run();
  expect((await show(home)).text).toContain(`${home}/releases`);
  const { text } = await show(`${home}/releases`);
  const older = /href="([^"]*cursor=[^"]*)"/.exec(text)?.[1]?.replaceAll("&amp;", "&") ?? "";
  expect(text).toContain(">v60<");
  expect(text).not.toContain(">v10<");
  const last = await show(older);
  expect(last.text).toContain(">v10<");
  expect(last.text).not.toContain("cursor=");
});

it("who started a release is told on the page that somebody else has to approve it", async () => {
  const environment = await world.applied(api);
  const row = {
    state: "preparing",
    approval: WAITING,
    weightBp: 0,
    by: "admin",
    startedAs: ["admin"],
  } as const;
  await world.release(environment, row);
  const { text } = await show("/ui/apps/shop/production/moves/approve");
  expect(text).toContain(
    "It would be refused: admin is who started it: v1 needs the approval of somebody else",
  );
  expect(text).toContain("goes on: it is started, then 100 %");
  expect(text).not.toContain("Traffic then");
});

it("weights of one release alone are not offered: it has it all", async () => {
  await world.release(await world.applied(api), { weightBp: 10_000 });
  expect((await show("/ui/apps/shop/production")).text).not.toContain("moves/weight");
  const { text } = await show("/ui/apps/shop/production/moves/weight");
  expect(text).toContain("v1 alone could serve, and has it all");
});

it("what was judged once is seen in the charts, with the bounds it lies between", async () => {
  const environment = await world.applied(api);
  await world.release(environment, { weightBp: 9_000, endedAt: api.time });
  const row = { version: "v2", weightBp: 1_000, state: "shifting", startedAt: api.time } as const;
  const id = await world.release(environment, row);
  const { decision, ...judged } = judgedAt(api.time, "errors 50 % against 0 %");
  const side = { ...decision.rollout.canary, requests: 20, errors: 10, p95Ms: 120 };
  const rollout = { ...decision.rollout, canary: side, baseline: { ...side, errors: 0 } };
  await recordVerdicts(world.db, id, [{ ...judged, decision: { ...decision, rollout } }]);
  const { text } = await show("/ui/apps/shop/production");
  expect(text.match(/<circle/g)).toHaveLength(4);
  expect(text).toContain(">200 ms<");
});

it("what a release changed stands there by the manifest's keys and units", async () => {
  const first = await world.applied(api);
  await world.release(first, { version: "v1", weightBp: 10_000 });
  const steps =
    "strategy: { canary: { steps: [{ weight: 25, bake: 30m }, { pause: {} }, { weight: 100 }] } }";
  await api.apply("shop", world.manifest("shop", `    ${steps}\n`));
  await world.release(first, { version: "v2", weightBp: 0 });
  const { text } = await show("/ui/apps/shop/production/compare?a=v1&b=v2");
  expect(text).toContain("25 % for 30 m, then until it is promoted, then 100 %");
  expect(text).not.toMatch(/Ms<|Bp/);
});

it("how a schedule last went is on its environment's page, and on the first page when it failed", async () => {
  const environment = await world.applied(api);
  const processes = {
    nightly: { kind: "scheduled", command: ["report"], schedule: { cron: "0 3 * * *", zone: "UTC" } },
  };
  const spec = "json_set(spec, '$.processes', json(?))";
  await env.DB.prepare(`UPDATE environments SET spec = ${spec}, schedules = ?`)
    .bind(JSON.stringify(processes), JSON.stringify({ nightly: { dueAt: api.time + 60_000 } }))
    .run();
  const id = await world.release(environment, { weightBp: 10_000 });
  await env.DB.prepare("UPDATE environments SET stable_release_id = ?").bind(id).run();
  const ran = (at: number, state: string, cause: string | null) =>
    env.DB.prepare(
      `INSERT INTO runs (id, environment_id, release_id, process, command, by, due_at, state, cause, deadline_ms, created_at, ended_at, missed, attempts, logs)
       VALUES (?, ?, ?, 'nightly', '["report"]', 'sluice', ?, ?, ?, 1, ?, ?, 0, 1, '[]')`,
    )
      .bind(`run_${at}`, environment, id, at, state, cause, at, at)
      .run();
  await ran(api.time - 2_000, "done", null);
  await ran(api.time - 1_000, "failed", "nightly exited with code 3");
  expect(needsOf((await show("/")).text).join()).toContain("nightly exited with code 3");
  const { text } = await show("/ui/apps/shop/production");
  expect(text).toContain("nightly exited with code 3");
  expect(text).toContain("/ui/apps/shop/production/runs?process=nightly");
  await ran(api.time, "done", null);
  expect(needsOf((await show("/")).text).join()).not.toContain("nightly");
});
