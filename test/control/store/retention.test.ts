import { env } from "cloudflare:workers";
import { sql } from "drizzle-orm";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { openDb } from "../../../src/control/store/db.ts";
import { loadEnvironment } from "../../../src/control/store/environments.ts";
import { findDueEnvironments } from "../../../src/control/store/upkeep/due.ts";
import { prune } from "../../../src/control/store/upkeep/retention.ts";
import { KEPT_BY_DEFAULT } from "../../../src/domain/retention.ts";
import { countRows } from "../support/count-rows.ts";
import { ENVIRONMENT, Stage } from "../support/stage.ts";

const DAY = 86_400_000;
const YEARS = 3 * 365 * DAY;

let stage: Stage;
beforeEach(async () => {
  vi.stubGlobal("fetch", async () => new Response("ok"));
  stage = await Stage.open();
});
afterEach(() => vi.unstubAllGlobals());

/** `count` old releases that served in their time, each with jobs, an instance, verdicts and events. */
async function age(count: number, each: number, now = Date.now()): Promise<void> {
  const then = sql`${now - YEARS} + n * 60000`;
  const rows = (most: number) =>
    sql`WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ${most})`;
  const spec = sql`(SELECT spec FROM environments WHERE id = ${ENVIRONMENT})`;
  await stage.db.run(sql`INSERT INTO releases (id, environment_id, version, image, state, kind, spec, by, weight_bp,
      created_at, serving_at, ended_at, state_since, timings)
    ${rows(count)} SELECT 'old-' || n, ${ENVIRONMENT}, 'old-' || n, 'x', 'superseded', 'deploy', ${spec}, 'ci', 0,
      ${then}, ${then}, ${then}, ${then}, '{}' FROM numbers`);
  await stage.db.run(sql`INSERT INTO instances (id, environment_id, release_id, host_id, slot_id, state, state_since,
      report_seq, created_at, stopped_at)
    ${rows(count)} SELECT 'old-' || n || '-1', ${ENVIRONMENT}, 'old-' || n, 'host_anna', 'host_anna/0', 'stopped', ${then},
      0, ${then}, ${then} FROM numbers`);
  const share = sql`'old-' || (1 + n % CAST(${count} AS INTEGER))`;
  await stage.db.run(sql`INSERT INTO jobs (id, kind, host_id, environment_id, release_id, instance_id, fence, payload, state,
      attempts, deadline_at, created_at, finished_at)
    ${rows(count * each)} SELECT 'old-job-' || n, 'start', 'host_anna', ${ENVIRONMENT}, ${share}, ${share} || '-1', 1, '{}',
      'done', 1, ${then}, ${then}, ${then} FROM numbers`);
  await stage.db.run(sql`INSERT INTO verdicts (release_id, window, at, verdict, reason, words, numbers)
    ${rows(count * each)} SELECT ${share}, n, ${then}, 'continue', 'x', 'x', '{}' FROM numbers`);
  await stage.db.run(sql`INSERT INTO events (at, type, actor, environment_id, message, data)
    ${rows(count * each)} SELECT ${then}, 'release.state', 'ci', ${ENVIRONMENT}, 'x', '{}' FROM numbers`);
}

const counts = async () => {
  const of = async (table: string) =>
    (await stage.db.all<{ n: number }>(sql`SELECT count(*) AS n FROM ${sql.raw(table)}`))[0]?.n ?? 0;
  const [jobs, verdicts, events, instances, releases] = await Promise.all(
    ["jobs", "verdicts", "events", "instances", "releases"].map(of),
  );
  return { jobs, verdicts, events, instances, releases };
};

describe("what is over", () => {
  it("costs no tick anything: with 100,000 old rows it reads what it reads with none", async () => {
    await stage.deploy();
    const read = async () => {
      const { counted, DB } = countRows(env.DB);
      const loaded = await loadEnvironment(openDb(DB), ENVIRONMENT);
      await findDueEnvironments(openDb(DB), Date.now());
      return {
        rows: counted.read,
        served: loaded?.facts.releases.filter(({ servingAt }) => servingAt !== null).length,
      };
    };
    const before = await read();
    await age(1_000, 33);
    const { jobs, verdicts, events, instances, releases } = await counts();
    expect(
      Number(jobs) + Number(verdicts) + Number(events) + Number(instances) + Number(releases),
    ).toBeGreaterThan(100_000);
    const after = await read();
    // Those that a rollback may name, and their way through two indexes.
    expect(after.rows - before.rows).toBeLessThan(200);
    expect(after.served).toBe(20);
  });

  it("goes in bounded pieces, until what is kept is left", async () => {
    await stage.deploy();
    const first = await counts();
    await age(100, 12);
    const now = Date.now();
    await stage.db.run(sql`INSERT INTO webhooks (id, kind, url, severity, sealed, key_id, cursor, created_at, created_by)
      VALUES ('wh_1', 'slack_app', 'https://slack.com/#ops', 'info', 'x', 'k1', 0, ${now}, 'ci')`);
    await stage.db.run(
      sql`INSERT INTO slack_threads (webhook_id, lane, ts, channel) SELECT 'wh_1', id, '1.0', 'C1' FROM releases`,
    );
    let previous = await counts();
    for (let minute = 0; minute < 12; minute++) {
      await prune(openDb(env.DB), now + minute * 60_000);
      const left = await counts();
      for (const table of ["jobs", "verdicts", "events", "instances", "releases"] as const)
        expect(Number(previous[table]) - Number(left[table])).toBeLessThanOrEqual(1_200);
      previous = left;
    }
    // The last twenty that served, this one among them, may be rolled back to.
    expect(previous.releases).toBe(KEPT_BY_DEFAULT.servedAtLeast);
    expect(await stage.db.all(sql`SELECT lane FROM slack_threads`)).toHaveLength(
      KEPT_BY_DEFAULT.servedAtLeast,
    );
    expect(previous).toMatchObject({ jobs: first.jobs, verdicts: 0, events: first.events });
  });

  it("is never what runs, is on its way, or could be rolled back to", async () => {
    const v1 = await stage.deploy();
    const v2 = await stage.deploy();
    await prune(openDb(env.DB), Date.now() + YEARS);
    const loaded = await loadEnvironment(openDb(env.DB), ENVIRONMENT);
    expect(loaded?.facts.releases.map(({ id }) => id).sort()).toEqual([v1, v2].sort());
    expect(loaded?.facts.instances.length).toBeGreaterThan(0);
    expect(loaded?.facts.jobs.length).toBeGreaterThan(0);
  });
});

it("a release that served is in view after 55 others that never did, and any that is named", async () => {
  const v1 = await stage.deploy();
  await stage.db.run(sql`INSERT INTO releases (id, environment_id, version, image, state, kind, spec, by, weight_bp,
      created_at, ended_at, state_since, timings)
    WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 55)
    SELECT 'never-' || n, ${ENVIRONMENT}, 'never-' || n, 'x', 'superseded', 'deploy',
      (SELECT spec FROM environments WHERE id = ${ENVIRONMENT}), 'ci', 0, ${Date.now()} + n, 1, 1, '{}' FROM numbers`);
  const inView = async (named?: string) =>
    (await loadEnvironment(openDb(env.DB), ENVIRONMENT, { named }))?.facts.releases.map(({ id }) => id) ?? [];
  expect(await inView()).toContain(v1);
  expect(await inView()).not.toContain("never-1");
  expect(await inView("never-1")).toContain("never-1");
});

describe("a lost alarm is mended by the sweep", () => {
  it("for a split by hand of releases that are live", async () => {
    const v1 = await stage.deploy();
    stage.ahead = 5_000;
    await stage.until("v1", "live");
    expect(await findDueEnvironments(openDb(env.DB), Date.now())).toEqual([]);
    await stage.db.run(sql`UPDATE releases SET weight_bp = 7500 WHERE id = ${v1}`);
    expect(await findDueEnvironments(openDb(env.DB), Date.now())).toEqual([ENVIRONMENT]);
  });

  it("for a contract hook whose rollback window is closed", async () => {
    stage = await Stage.open({ hooks: { contract: ["migrate"] }, keepMs: 600_000 });
    await stage.deploy();
    stage.ahead = 5_000;
    await stage.until("v1", "live");
    expect(await findDueEnvironments(openDb(env.DB), Date.now())).toEqual([]);
    expect(await findDueEnvironments(openDb(env.DB), Date.now() + 601_000)).toEqual([ENVIRONMENT]);
  });
});
