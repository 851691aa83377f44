import { env } from "cloudflare:workers";
import { sql } from "drizzle-orm";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { tallies } from "../../../src/control/store/schema/tallies.ts";
import { recordVerdicts } from "../../../src/control/store/verdicts.ts";
import { canaryConfig, decide, init } from "../../../src/domain/canary/index.ts";
import { Api } from "../support/api.ts";
import { countRows } from "../support/count-rows.ts";
import { batchOf, counts, meterOf } from "../support/meter.ts";
import { Stage } from "../support/stage.ts";
import * as world from "../support/world.ts";

const NOW = 1_790_000_000_000;

/** The samples of a scrape: value by `name{labels}`. */
async function scrape(api: Api, token?: string): Promise<Map<string, number>> {
  const response = await api.get("/metrics", token === undefined ? {} : { token });
  expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  const lines = (await response.text()).split("\n").filter((line) => line && !line.startsWith("#"));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ")))]),
  );
}

/** One release, 300 times more. */
const COPY_300 = `WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
  INSERT INTO releases (id, environment_id, version, image, state, kind, spec, "by", weight_bp, created_at, ended_at,
    state_since, timings) SELECT id || i, environment_id, version || i, image, state, kind, spec, "by", weight_bp,
    created_at, ended_at, state_since, timings FROM releases, n WHERE id = 'rel_old'`;

const SHOP = 'app="shop",environment="production"';

async function shop(api: Api) {
  const environmentId = await world.applied(api);
  const host = await world.enrolled(api);
  const stable = await world.release(environmentId, { version: "v1", weightBp: 9_000, endedAt: NOW });
  await env.DB.prepare("UPDATE environments SET stable_release_id = ? WHERE id = ?")
    .bind(stable, environmentId)
    .run();
  const canary = await world.release(environmentId, {
    version: "v2",
    weightBp: 1_000,
    state: "shifting",
    startedAt: NOW - 30_000,
  });
  await world.instance({ environmentId, releaseId: stable, host, slot: 0 });
  return { environmentId, host, stable, canary };
}

describe("what /metrics shows", () => {
  beforeEach(() => world.emptyWorld());

  it("the split, the lock, instances and hosts, as the rows have them", async () => {
    const api = new Api();
    await shop(api);
    const found = await scrape(api);
    expect(found.get(`sluice_release_weight{${SHOP},release="v1"}`)).toBe(0.9);
    expect(found.get(`sluice_release_weight{${SHOP},release="v2"}`)).toBe(0.1);
    expect([...found.keys()].filter((key) => /_info\{.*role="canary"/.test(key))).toHaveLength(1);
    expect(found.get(`sluice_lock_held_seconds{${SHOP}}`)).toBe(30);
    expect(found.get(`sluice_instances{${SHOP},state="serving"}`)).toBe(1);
    expect(found.get('sluice_host_up{host="web-1"}')).toBe(0);
    expect(found.get('sluice_agents{version="1.0.0"}')).toBe(1);
    expect(found.get("sluice_outbox_depth")).toBe(0);
  });

  it("hosts as their agents say they fare, whatever of it they say, and nothing of silent ones", async () => {
    const api = new Api();
    const host = await world.enrolled(api);
    const system = { os: "linux", arch: "x64", node: "v24" };
    const usage = {
      ...{
        uptimeMs: 90_000,
        agentBytes: 80e6,
        memory: { totalBytes: 8e9, availableBytes: 2e9 },
        engineMs: 12,
      },
      ...{ containers: { running: 3, paused: 0, stopped: 1 }, jobs: { done: 7, failed: 1 } },
      cloudflared: { requests: 1_000, errors: 4 },
    };
    const tunnel = { state: "connected", readyConnections: 4 };
    const poll = (facts: object) =>
      api.post("/agent/v1/poll", world.pollBody({ facts: { ...system, ...facts } }), { token: host.token });
    expect((await poll({ usage, tunnel })).status).toBe(200);
    const found = await scrape(api);
    const of = (name: string, more = "") => found.get(`sluice_${name}{host="web-1"${more}}`);
    expect(of("host_memory_available_bytes")).toBe(2e9);
    expect(of("agent_uptime_seconds")).toBe(90);
    expect(of("agent_jobs_total", ',outcome="failed"')).toBe(1);
    expect(of("engine_latency_seconds")).toBe(0.012);
    expect(of("engine_containers", ',state="running"')).toBe(3);
    expect(of("tunnel_up")).toBe(1);
    expect(of("tunnel_connections")).toBe(4);
    expect(of("tunnel_requests_total")).toBe(1_000);
    expect(of("tunnel_request_errors_total")).toBe(4);
    expect([...found.keys()].filter((key) => key.includes('host="web-1"')).length).toBeLessThanOrEqual(20);
    // What can't be read is left out, and no poll is refused for it.
    expect((await poll({ usage: { ...usage, agentBytes: -1 } })).status).toBe(200);
    api.time += 5_000;
    expect((await scrape(api)).has('sluice_agent_uptime_seconds{host="web-1"}')).toBe(false);
    expect((await poll({ usage })).status).toBe(200);
    api.time += 10 * 60_000;
    const later = [...(await scrape(api)).keys()].filter((key) => key.includes('host="web-1"'));
    expect(later).toEqual([
      'sluice_host_up{host="web-1"}',
      'sluice_host_last_seen_timestamp_seconds{host="web-1"}',
    ]);
  });

  it("of five hundred environments two hundred, within what a Worker may call, and how many are left out", async () => {
    const scoped = new Api();
    const { environmentId } = await shop(scoped);
    const token = await scoped.token("viewer", { app: "shop" });
    await world.manyMore(499);
    await world.db.run(sql`INSERT INTO releases (id, environment_id, version, image, state, kind, spec, "by", weight_bp,
        created_at, state_since, timings)
      SELECT r.id || e.id, e.id, version, image, state, kind, r.spec, "by", weight_bp, r.created_at, state_since, timings
        FROM releases r, environments e WHERE r.version = 'v1' AND e.id != ${environmentId}`);
    for (const who of [undefined, token]) {
      let calls = 0;
      const getByName = () => ({
        totals: async () => {
          calls += 1;
          return { releases: [], lagMs: 0 };
        },
      });
      const found = await scrape(new Api({}, { METER: { getByName } as never }), who);
      expect(calls).toBe(800);
      expect([...found].filter(([key, up]) => key.startsWith("sluice_meter_up{") && up === 1)).toHaveLength(
        200,
      );
      expect(found.get("sluice_environments_left_out")).toBe(300);
    }
  });

  it("requests by class and latency by release, of all parts of the meter", async () => {
    const api = new Api();
    const { environmentId, stable } = await shop(api);
    const now = Date.now();
    const window = now - (now % 10_000);
    for (const colo of ["AMS", "IAD", "NRT"])
      await meterOf(environmentId, colo).absorb(batchOf([counts(stable, window, 100, 5)], `${colo}-${now}`));
    const found = await scrape(api);
    const of = (name: string, more: string) => found.get(`sluice_${name}{${SHOP},release="v1"${more}}`);
    expect(of("requests_total", ',class="2xx"')).toBe(285);
    expect(of("requests_total", ',class="5xx"')).toBe(15);
    expect(of("failed_requests_total", "")).toBe(15);
    // Bucket 50 begins at 76 ms.
    expect(of("request_duration_seconds_bucket", ',le="0.064"')).toBe(0);
    expect(of("request_duration_seconds_bucket", ',le="0.128"')).toBe(285);
    expect(of("request_duration_seconds_count", "")).toBe(285);
    expect(of("request_duration_seconds_sum", "")).toBeCloseTo(285 * 0.0795, 0);
  });

  it("the judge's evidence against what it acts on", async () => {
    const api = new Api();
    const { canary } = await shop(api);
    const decision = decide(init(new Array(112).fill(0), canaryConfig({}), []));
    const field = { route: "GET /", field: "$.a", answers: 9, canary: 9, stable: 0 };
    const more = {
      answersCompared: 9,
      differing: { named: [field], more: 2 },
      synthetic: { canary: 4, baseline: 5, isJudged: false },
    };
    const told = { ...decision, ...more };
    await recordVerdicts(world.db, canary, [{ window: NOW, at: NOW, decision: told, words: "-" }]);
    const found = await scrape(api);
    const labels = `${SHOP},release="v2",measure="worse"`;
    expect(found.get(`sluice_verdict_value{${labels}}`)).toBe(0);
    expect(found.get(`sluice_verdict_threshold{${labels}}`)).toBeGreaterThan(2);
    expect(found.get(`sluice_verdict_info{${SHOP},release="v2",verdict="continue"}`)).toBe(1);
    const of = (name: string, more = "") => found.get(`sluice_verdict_${name}{${SHOP},release="v2"${more}}`);
    expect([of("compared_answers"), of("differing_fields")]).toEqual([9, 3]);
    expect(["canary", "stable"].map((role) => of("synthetic_requests", `,role="${role}"`))).toEqual([4, 5]);
  });

  it("a token of one app: its own, and no hosts", async () => {
    const api = new Api();
    await shop(api);
    await world.applied(api, "other");
    const keys = [...(await scrape(api, await api.token("viewer", { app: "other" }))).keys()].join("\n");
    expect(keys).toContain('app="other"');
    expect(keys).not.toContain("shop");
    expect(keys).not.toContain("host");
  });

  it("the same from another isolate", async () => {
    const [one, other] = [new Api(), new Api()];
    await shop(one);
    expect(await scrape(other)).toEqual(await scrape(one));
  });

  it("a name with quotes in it, as a label the format allows", async () => {
    const api = new Api();
    const { environmentId } = await shop(api);
    await world.release(environmentId, { version: 'a"b\\c\nd', weightBp: 1 });
    const text = await (await api.get("/metrics")).text();
    expect(text).toContain('release="a\\"b\\\\c\\nd"');
  });
});

describe("what a scrape costs", () => {
  it("is of what lives: the same rows with 300 ended releases as with none, and none when asked again", async () => {
    await world.emptyWorld();
    const { counted, DB } = countRows(env.DB);
    const api = new Api({}, { DB });
    const { environmentId } = await shop(api);
    const rows = async () => {
      api.time += 60_000;
      counted.read = 0;
      await scrape(api);
      return counted.read;
    };
    await rows();
    const before = await rows();
    await world.release(environmentId, { id: "rel_old", version: "old", state: "superseded", endedAt: NOW });
    await env.DB.prepare(COPY_300).run();
    const after = await rows();
    expect(after).toBeLessThanOrEqual(before + 2);
    expect(after).toBeLessThanOrEqual(60);
    counted.read = 0;
    await scrape(api);
    // Its token alone.
    expect(counted.read).toBeLessThanOrEqual(1);
  });
});

describe("what is counted for good", () => {
  afterEach(() => void vi.unstubAllGlobals());

  it("two deployments that went live, each once with its time; and a way back that was asked for", async () => {
    vi.stubGlobal("fetch", async () => new Response("ok"));
    const stage = await Stage.open();
    await stage.deploy();
    await stage.deploy();
    stage.ahead = 34_000;
    await stage.until("v2", "live");
    const back = { to: null, seen: null, actor: "ci" };
    expect(await stage.coordinator.rollback(back)).toMatchObject({ ok: true });
    const rows = await stage.db.select().from(tallies);
    const values = new Map(rows.map(({ metric, labels, value }) => [`${metric} ${labels}`, value]));
    expect(values.get("deployments blue-green|success")).toBe(2);
    expect(values.get("duration blue-green|success|10")).toBe(2);
    expect(values.get("rollbacks asked")).toBe(1);
  });

  it("an instance that stops being ready: once, however often its host says so", async () => {
    await world.emptyWorld();
    const api = new Api();
    const { environmentId, stable, host } = await shop(api);
    const id = await world.instance({ environmentId, releaseId: stable, host, slot: 1 });
    const says = (seq: number, state: string) =>
      api.post(
        "/agent/v1/health",
        { boot: "boot-1", reports: [{ instance: id, seq, at: NOW, state, cause: "503" }] },
        { token: host.token },
      );
    for (const [seq, state] of [
      [1, "unready"],
      [1, "unready"],
      [2, "ready"],
      [3, "exited"],
    ] as const)
      expect((await says(seq, state)).ok).toBe(true);
    const found = await scrape(api);
    const of = (check: string) => found.get(`sluice_health_check_failures_total{${SHOP},check="${check}"}`);
    expect([of("readiness"), of("process")]).toEqual([1, 1]);
  });
});
