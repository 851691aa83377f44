import { env } from "cloudflare:workers";
import { isNull, sql } from "drizzle-orm";
import { beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { z } from "zod";
import type { ControlEnv } from "../../../src/control/env.ts";
import { apps } from "../../../src/control/store/schema/apps.ts";
import { environments } from "../../../src/control/store/schema/environments.ts";
import { previews } from "../../../src/control/store/schema/previews.ts";
import { sweep } from "../../../src/control/sweep.ts";
import { appSchema } from "../../../src/protocol/api/apps.ts";
import { doctorSchema } from "../../../src/protocol/api/doctor.ts";
import type { Problem } from "../../../src/protocol/problem.ts";
import { Api } from "../support/api.ts";
import { Invocation } from "../support/invocation.ts";
import * as world from "../support/world.ts";

/** Coordinators that have an environment end as the real ones begin to. */
const destroyed: string[] = [];
let inspected = 0;
const getByName = (id: string) => ({
  poke: async () => {},
  inspect: async () => {
    inspected += 1;
    return { table: { version: 0, publishedAt: null }, traffic: {}, verdict: null, windows: [] };
  },
  destroy: async ({ actor }: { actor: string }) => {
    destroyed.push(id);
    await world.db.run(
      sql`UPDATE environments SET ending = ${JSON.stringify({ at: 1, by: actor })} WHERE id = ${id}`,
    );
    return { ok: true, value: null };
  },
});

let api: Api;
beforeEach(async () => {
  await world.emptyWorld();
  destroyed.length = 0;
  api = new Api({}, { COORDINATOR: { getByName } as unknown as ControlEnv["COORDINATOR"] });
});

/** Sweeps within what an invocation may do, until nothing is left; answers how many minutes that took. */
async function sweepUntil(isDone: () => Promise<boolean>): Promise<number> {
  for (let minute = 1; minute <= 10; minute += 1) {
    api.time += 60_000;
    await new Invocation().run(() => sweep(api.env, api.time));
    if (await isDone()) return minute;
  }
  return Number.POSITIVE_INFINITY;
}

const untold = async () =>
  (await world.db.select().from(environments).where(isNull(environments.ending))).length;

describe("however many there are, one invocation does no more than it may", () => {
  it("the sweep takes down a hundred previews whose time is over", async () => {
    const id = await world.applied(api);
    await world.manyMore(100);
    await world.db.run(sql`INSERT INTO previews (app, number, environment_id, template_id, created_at, updated_at, expires_at,
        source, "by") SELECT 'shop', row_number() OVER (), id, ${id}, 1, 1, 2, '{}', 'ci' FROM environments WHERE id != ${id}`);
    const open = () => world.db.select().from(previews).where(isNull(previews.closedAt));
    expect(await sweepUntil(async () => (await open()).length === 0)).toBeLessThanOrEqual(5);
    expect(new Set(destroyed).size).toBe(100);
    const told = await env.DB.prepare("SELECT count(*) AS n FROM events WHERE type = 'preview.closed'").first(
      "n",
    );
    expect(told).toBe(100);
  });

  it("the sweep finishes sixty apps that have no environment any more", async () => {
    await world.applied(api);
    await world.db.run(sql`UPDATE environments SET deleted_at = 1`);
    await world.db.run(sql`UPDATE apps SET ending = '{"at":1,"by":"ada"}'`);
    await world.db.run(sql`WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
      INSERT INTO apps (id, name, manifest, ending, created_at, updated_at)
        SELECT id || i, name || i, manifest, ending, created_at, updated_at FROM apps, n`);
    const left = async () =>
      (await world.db.select().from(apps)).filter(({ name }) => !name.includes("~")).length;
    expect(await sweepUntil(async () => (await left()) === 0)).toBeLessThanOrEqual(5);
  });

  it("an app of two hundred environments is destroyed: some are told at once, the rest by the sweep", async () => {
    await world.applied(api);
    await world.manyMore(200);
    expect((await api.delete("/api/v1/apps/shop?confirm=shop")).status).toBe(202);
    expect(destroyed.length).toBeGreaterThan(0);
    expect(destroyed.length).toBeLessThanOrEqual(50);
    expect(await sweepUntil(async () => (await untold()) === 0)).toBeLessThanOrEqual(5);
    expect(destroyed).toHaveLength(201);
  });

  it("a host that seventy environments have an instance on is asked whether it can be drained", async () => {
    const host = await world.enrolled(api, "web-1", 80);
    const environmentId = await world.applied(api);
    const releaseId = await world.release(environmentId, { weightBp: 10_000 });
    const id = await world.instance({ environmentId, releaseId, host, slot: 0 });
    await world.manyMore(70);
    await world.db.run(sql`INSERT INTO releases (id, environment_id, version, image, state, kind, spec, "by", weight_bp, created_at,
        state_since, timings)
      SELECT r.id || e.id, e.id, version, image, state, kind, r.spec, "by", weight_bp, r.created_at, state_since, timings
        FROM releases r, environments e WHERE e.id != ${environmentId}`);
    await world.db.run(sql`INSERT INTO instances (id, environment_id, release_id, host_id, slot_id, state, state_since, report_seq,
        report_state, created_at)
      SELECT i.id || e.id, e.id, i.release_id || e.id, i.host_id, i.host_id || '/' || (row_number() OVER ()), i.state, i.state_since,
        i.report_seq, i.report_state, i.created_at
        FROM instances i, environments e WHERE i.id = ${id} AND e.id != ${environmentId}`);
    const refused = await api.put("/api/v1/hosts/web-1/drain", {});
    expect(refused.status).toBe(409);
    const { detail } = await refused.json<Problem>();
    expect(detail.match(/1 of 1 instances of v1 there/g)).toHaveLength(71);
  });

  it("apps of a hundred and fifty environments each are listed, some a page", async () => {
    for (const app of ["a", "b", "c"]) await world.applied(api, app);
    await world.manyMore(149);
    const found: string[] = [];
    for (let cursor: string | null = ""; cursor !== null; ) {
      inspected = 0;
      const response = await api.get(`/api/v1/apps${cursor === "" ? "" : `?cursor=${cursor}`}`);
      const page = z
        .object({ items: z.array(appSchema), nextCursor: z.string().nullable() })
        .parse(await response.json());
      expect(inspected).toBeLessThanOrEqual(200);
      for (const { app, environments: own } of page.items) {
        expect(own).toHaveLength(150);
        found.push(app);
      }
      cursor = page.nextCursor;
    }
    expect(found).toEqual(["a", "b", "c"]);
  });

  it("of sixty hosts `doctor --live` asks as many as a request may, and says that it left some out", async () => {
    for (let n = 0; n < 60; n += 1) await world.enrolled(api, `web-${n}`, 1);
    await world.db.run(sql`UPDATE slots SET origin = 'https://sl-' || host_id || '.invalid'`);
    vi.stubGlobal("fetch", async () => new Response(null, { status: 502 }));
    onTestFinished(() => void vi.unstubAllGlobals());
    const { checks, slots } = doctorSchema.parse(await (await api.get("/api/v1/doctor?live=1")).json());
    const paths = checks.filter(({ id }) => id === "live.path");
    expect(paths.filter(({ status }) => status === "ok")).toHaveLength(40);
    expect(paths.filter(({ status }) => status !== "ok")).toEqual([
      {
        id: "live.path",
        subject: "control",
        status: "skip",
        detail: expect.stringContaining("20 of 60 hosts"),
        fix: null,
      },
    ]);
    expect(slots).toHaveLength(60);
  });
});
