import { reset } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import { newId } from "../../../src/control/ids.ts";
import { environments } from "../../../src/control/store/schema/environments.ts";
import { instances } from "../../../src/control/store/schema/instances.ts";
import { jobs } from "../../../src/control/store/schema/jobs.ts";
import { releases } from "../../../src/control/store/schema/releases.ts";
import type { EnrollAnswer } from "../../../src/protocol/agent/enroll.ts";
import type { Api } from "./api.ts";
import { forgetWrites } from "./limited-services.ts";

/** An empty database with all of its tables. */
export async function emptyWorld(): Promise<void> {
  forgetWrites();
  // A reset passes over a database that something of the test before still holds.
  for (let attempt = 0; attempt < 20; attempt++) {
    await reset();
    if (await makeTables()) return;
  }
  throw new Error("something still holds the database of the test before");
}

/** All that the migrations made of the first database: as one statement it costs a third of them. */
let schema: string | undefined;

async function makeTables(): Promise<boolean> {
  try {
    if (schema === undefined) schema = await migrated();
    else await env.DB.prepare(schema).run();
    return true;
  } catch (error) {
    if (String(error).includes("already exists")) return false;
    throw error;
  }
}

async function migrated(): Promise<string> {
  const queries = env.TEST_MIGRATIONS.flatMap((migration) => migration.queries);
  await env.DB.batch(queries.map((query) => env.DB.prepare(query)));
  const made = env.DB.prepare(
    "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT GLOB 'sqlite_*' AND name NOT GLOB '_cf_*' ORDER BY rowid",
  );
  const { results } = await made.all<{ sql: string }>();
  return results.map(({ sql }) => sql).join(";\n");
}

// Rows that in production only a coordinator or an agent makes, put there directly.

export const db = drizzle(env.DB);

export const DIGEST = `sha256:${"a".repeat(64)}`;

export const manifest = (app = "shop", more = "") => `app: ${app}
image: ghcr.io/acme/${app}
port: 3000
environments:
  production:
    hostnames: [${app}.example.com]
${more}`;

/** Applies a manifest and answers the id of its production environment. */
export async function applied(api: Api, app = "shop"): Promise<string> {
  const response = await api.apply(app, manifest(app));
  if (!response.ok) throw new Error(await response.text());
  const row = (await db.select().from(environments).all()).find(({ spec }) => spec.app === app);
  if (!row) throw new Error(`applying ${app} made no environment`);
  return row.id;
}

/** So many more environments of each app that has one by now; their ids and names end in a number from 1 on. */
export const manyMore = (count: number) =>
  db.run(sql`WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count})
    INSERT INTO environments (id, app_id, name, spec, rev, fence, salt, preview_key, mode, next_version, created_at)
      SELECT id || '-' || i, app_id, name || '-' || i, spec, rev, fence, salt, preview_key, mode, next_version, created_at
        FROM environments, n`);

/** Enrols a host through the API. */
export async function enrolled(api: Api, name = "web-1", slots = 4): Promise<EnrollAnswer> {
  const made = await api.post("/api/v1/hosts/enrollments", { name, slots });
  const { token } = await made.json<{ token: string }>();
  const response = await api.post("/agent/v1/enroll", enrollBody(token), { token: null });
  if (!response.ok) throw new Error(await response.text());
  return response.json<EnrollAnswer>();
}

export const enrollBody = (token: string, more: Record<string, unknown> = {}) => ({
  protocol: 1,
  agentVersion: "1.0.0",
  token,
  runtime: "docker",
  portBase: 20_000,
  originBase: "http://127.0.0.1",
  ...more,
});

export const pollBody = (more: Record<string, unknown> = {}) => ({
  protocol: 1,
  agentVersion: "1.0.0",
  clock: 1_790_000_000_000,
  boot: "boot-1",
  wantsJobs: true,
  instances: [],
  ...more,
});

export async function release(
  environmentId: string,
  row: Partial<typeof releases.$inferInsert> = {},
): Promise<string> {
  const environment = (await db.select().from(environments).all()).find(({ id }) => id === environmentId);
  if (!environment) throw new Error(`no environment ${environmentId}`);
  const now = row.createdAt ?? 1_790_000_000_000;
  const id = row.id ?? newId("rel", now);
  await db.insert(releases).values({
    id,
    environmentId,
    version: "v1",
    image: "ghcr.io/acme/shop:1",
    state: "live",
    kind: "deploy",
    spec: environment.spec,
    by: "token:ci",
    weightBp: 0,
    createdAt: now,
    stateSince: now,
    timings: {},
    hold: false,
    instancesMade: 0,
    ...row,
  });
  return id;
}

export async function instance(
  of: { environmentId: string; releaseId: string; host: EnrollAnswer; slot: number },
  row: Partial<typeof instances.$inferInsert> = {},
): Promise<string> {
  const id = row.id ?? newId("ins", 1_790_000_000_000);
  await db.insert(instances).values({
    id,
    environmentId: of.environmentId,
    releaseId: of.releaseId,
    hostId: of.host.host.id,
    slotId: `${of.host.host.id}/${of.slot}`,
    state: "serving",
    stateSince: 1_790_000_000_000,
    reportSeq: 0,
    reportState: "ready",
    createdAt: 1_790_000_000_000,
    ...row,
  });
  return id;
}

export async function job(
  of: { environmentId: string; releaseId: string; host: EnrollAnswer },
  row: Partial<typeof jobs.$inferInsert> = {},
): Promise<string> {
  const id = row.id ?? `pull-${newId("ins", 1_790_000_000_000)}`;
  await db.insert(jobs).values({
    id,
    kind: "pull",
    hostId: of.host.host.id,
    environmentId: of.environmentId,
    releaseId: of.releaseId,
    fence: 1,
    payload: { image: "ghcr.io/acme/shop:1" },
    state: "queued",
    attempts: 0,
    deadlineAt: 1_790_000_600_000,
    createdAt: 1_790_000_000_000,
    ...row,
  });
  return id;
}
