import { and, asc, eq, getTableColumns, inArray, isNull, type SQL, sql } from "drizzle-orm";
import { type AccessoryAction, accessoryId } from "../../domain/accessory.ts";
import type { AccessorySpec } from "../../domain/spec.ts";
import { type Db, runBatch, type Statement } from "./db.ts";
import { insertEvent } from "./events.ts";
import { accessories } from "./schema/accessories.ts";
import { apps } from "./schema/apps.ts";
import { environments } from "./schema/environments.ts";
import { events } from "./schema/events.ts";
import { hosts } from "./schema/hosts.ts";
import { jobs } from "./schema/jobs.ts";

type Row = typeof accessories.$inferSelect;
type Job = typeof jobs.$inferSelect;

/** An accessory with its host and the job that changes it now, or changed it last. */
export interface AccessoryRow extends Row {
  readonly hostName: string;
  readonly hostSeenAt: number | null;
  readonly hostRemovedAt: number | null;
  readonly action: AccessoryAction;
  readonly job: Pick<Job, "id" | "state" | "progress" | "deadlineAt" | "error"> | null;
}

/** Those of some environments, by name. `within`: their ids, in brackets. */
export async function readAccessories(db: Db, within: SQL): Promise<AccessoryRow[]> {
  const rows = await db
    .select({
      row: getTableColumns(accessories),
      host: { name: hosts.name, seenAt: hosts.lastSeenAt, removedAt: hosts.removedAt },
      job: {
        id: jobs.id,
        state: jobs.state,
        progress: jobs.progress,
        deadlineAt: jobs.deadlineAt,
        error: jobs.error,
      },
      payload: jobs.payload,
    })
    .from(accessories)
    .innerJoin(hosts, eq(hosts.id, accessories.hostId))
    .leftJoin(jobs, eq(jobs.id, accessories.jobId))
    .where(sql`${accessories.environmentId} IN ${within}`)
    .orderBy(asc(accessories.name));
  return rows.map(({ row, host, job, payload }) => ({
    ...row,
    hostName: host.name.split("~")[0] ?? host.name,
    hostSeenAt: host.seenAt,
    hostRemovedAt: host.removedAt,
    job,
    // Written by `orderAccessory` below, and by nobody else.
    action: (payload?.action as AccessoryAction | undefined) ?? "start",
  }));
}

export interface AccessoryOrder {
  readonly environmentId: string;
  readonly name: string;
  /** The row it was decided on; null: there was none. */
  readonly before: AccessoryRow | null;
  readonly state: "starting" | "stopping";
  readonly hostId: string;
  /** As declared: what the row says once it runs. */
  readonly spec: AccessorySpec;
  readonly job: { readonly id: string; readonly payload: Job["payload"]; readonly deadlineAt: number };
  readonly now: number;
}

/**
 * Moves the row from the state it was read in, and hands the job out with it. Whoever comes second fails as a whole: the
 * row's key is taken, or the job finds no row that is its own, hence no host, which is not allowed.
 */
export function orderAccessory(db: Db, order: AccessoryOrder): Statement[] {
  const { environmentId, name, before, state, hostId, spec, job, now } = order;
  const isIt = and(eq(accessories.environmentId, environmentId), eq(accessories.name, name));
  const move = { state, stateSince: now, cause: null, jobId: job.id } as const;
  const row = before
    ? db
        .update(accessories)
        .set(move)
        .where(and(isIt, eq(accessories.state, before.state), sql`${accessories.jobId} IS ${before.jobId}`))
    : db.insert(accessories).values({ ...move, environmentId, name, hostId, spec, createdAt: now });
  const insertJob = db.insert(jobs).values({
    id: job.id,
    kind: "accessory",
    hostId: sql`(SELECT host_id FROM accessories WHERE job_id = ${job.id})`,
    environmentId,
    // An environment that was deleted meanwhile has none to give.
    fence: sql`(SELECT fence FROM environments WHERE id = ${environmentId} AND deleted_at IS NULL)`,
    payload: job.payload,
    state: "queued",
    attempts: 0,
    deadlineAt: job.deadlineAt,
    createdAt: now,
  });
  return [row, insertJob];
}

/** Forgets one whose host is gone for good. */
export const forgetAccessory = (db: Db, { environmentId, name, jobId }: AccessoryRow) =>
  db
    .delete(accessories)
    .where(
      and(
        eq(accessories.environmentId, environmentId),
        eq(accessories.name, name),
        sql`${accessories.jobId} IS ${jobId}`,
      ),
    ) satisfies Statement;

/**
 * Brings each accessory that was on its way to where its job ended, however that came: done, failed, past its deadline,
 * called off. In the batch that ends a job it makes both one write; anywhere else it mends what was missed.
 */
export function settleAccessories(db: Db, now: number): Statement[] {
  return [
    db.insert(events).select(outcomeEvents(now)),
    db.delete(accessories).where(sql`job_id IN (SELECT id FROM jobs j WHERE j.id = job_id AND j.state = 'done'
      AND ${action} = 'remove') AND ${isMoving}`),
    db
      .update(accessories)
      .set({
        state: sql`CASE WHEN ${job("j.state")} <> 'done' THEN iif(${job("json_extract(j.error, '$.kept')")} = 1, 'running', 'failed')
          WHEN ${job(action)} = 'stop' THEN 'stopped' ELSE 'running' END`,
        stateSince: now,
        cause: job(`coalesce(json_extract(j.error, '$.message'), json_extract(j.result, '$.differs'),
          iif(j.state = 'cancelled', 'was called off', NULL))`),
        spec: sql`iif(${job(RUNS_ANEW)}, ${job("json_extract(j.payload, '$.declared')")}, spec)`,
        pinnedImage: sql`iif(${job(RUNS_ANEW)}, ${job(PINNED)}, pinned_image)`,
      })
      .where(
        sql`${isMoving} AND job_id IN (SELECT id FROM jobs j WHERE j.id = job_id AND j.finished_at IS NOT NULL)`,
      ),
  ];
}

const ACTION = "json_extract(j.payload, '$.action')";
const action = sql.raw(ACTION);
/** It runs as it was asked for now: not as before, nor in a container that was there and was kept. */
const RUNS_ANEW = `j.state = 'done' AND ${ACTION} IN ('start', 'upgrade') AND json_extract(j.result, '$.differs') IS NULL`;
/** The asked image at the digest that the agent found: the name is control's own. */
const FOUND = "substr(json_extract(j.result, '$.image'), -71)";
const PINNED = `coalesce(json_extract(j.payload, '$.pin.image'), iif(length(${FOUND}) = 71 AND ${FOUND} GLOB 'sha256:*'
  AND substr(${FOUND}, 8) NOT GLOB '*[^0-9a-f]*', json_extract(j.payload, '$.pin.repository') || '@' || ${FOUND}, NULL))`;
const isMoving = sql.raw("state IN ('starting', 'stopping')");
/** A value of the accessory's job. */
const job = (value: string | typeof action) =>
  sql`(SELECT ${typeof value === "string" ? sql.raw(value) : value} FROM jobs j WHERE j.id = accessories.job_id)`;

/** One line for each that is about to be settled. */
const outcomeEvents = (now: number) => sql`
  SELECT NULL, ${now}, 'accessory.state', 'sluice', p.name, e.name, e.id, NULL,
    c.name || CASE
      WHEN j.state <> 'done' THEN ': ' || ${action} || ' failed' ||
        iif(json_extract(j.error, '$.kept') = 1, ', it runs as before', '') || ': ' ||
        coalesce(json_extract(j.error, '$.message'), 'it was called off')
      WHEN ${action} = 'stop' THEN ' is stopped on ' || h.name
      WHEN ${action} = 'remove' THEN ' is removed from ' || h.name || '; its volumes stay'
      WHEN ${action} = 'upgrade' THEN ' is upgraded and runs on ' || h.name
      ELSE ' runs on ' || h.name END,
    json_object('accessory', c.name, 'host', h.name, 'job', j.id, 'action', ${action}, 'state', CASE
      WHEN j.state <> 'done' THEN iif(json_extract(j.error, '$.kept') = 1, 'running', 'failed')
      WHEN ${action} = 'stop' THEN 'stopped' WHEN ${action} = 'remove' THEN 'absent' ELSE 'running' END)
  FROM accessories c JOIN jobs j ON j.id = c.job_id JOIN hosts h ON h.id = c.host_id
    JOIN environments e ON e.id = c.environment_id JOIN apps p ON p.id = e.app_id
  WHERE c.state IN ('starting', 'stopping') AND j.finished_at IS NOT NULL`;

/** For the agent's own word that its time was over, which says more. */
const AGENT_SLACK_MS = 30_000;

/** Ends what no agent has ended in time, whether or not its host is ever heard of again. */
export const failOverdueAccessories = (db: Db, now: number): Statement[] => [
  db
    .update(jobs)
    .set({
      state: "failed",
      error: {
        code: "deadline",
        message: "its host did not say how it ended before the deadline: is its agent running?",
        logs: [],
      },
      finishedAt: now,
    })
    .where(
      and(
        eq(jobs.kind, "accessory"),
        isNull(jobs.finishedAt),
        sql`${jobs.deadlineAt} + ${AGENT_SLACK_MS} <= ${now}`,
      ),
    ),
  ...settleAccessories(db, now),
];

/** Hosts that carry the labels, by name. */
export async function readHostsWith(db: Db, labels: Readonly<Record<string, string>>) {
  const rows = await db.select().from(hosts).where(isNull(hosts.removedAt)).orderBy(asc(hosts.name));
  return rows.filter((host) => Object.entries(labels).every(([key, value]) => host.labels[key] === value));
}

/** Of a host in an outer query: those of which its own word counts, for nothing is being done with them. */
export const COUNT_RESTING = sql.raw(
  "(SELECT count(*) FROM accessories c WHERE c.host_id = hosts.id AND c.state IN ('running', 'failed'))",
);

/** Puts right what is written of a host's accessories and is otherwise there: one ended, was removed, or runs again. */
export async function heedAccessories(
  db: Db,
  { hostId, listed, now }: { hostId: string; listed: Listed; now: number },
): Promise<void> {
  const rows = await db
    .select({
      row: getTableColumns(accessories),
      app: apps.name,
      environment: environments.name,
      host: hosts.name,
    })
    .from(accessories)
    .innerJoin(hosts, eq(hosts.id, accessories.hostId))
    .innerJoin(environments, eq(environments.id, accessories.environmentId))
    .innerJoin(apps, eq(apps.id, environments.appId))
    .where(and(eq(accessories.hostId, hostId), inArray(accessories.state, ["running", "failed"])));
  const statements = rows.flatMap(({ row, ...of }) => {
    const said = listed.find(({ accessory }) => accessory === accessoryId(of, row.name));
    const lack = said ? said.lack : "is gone: its container was removed from outside";
    const state = lack === undefined ? ("running" as const) : ("failed" as const);
    if (row.state === state) return [];
    return heed(db, { row, ...of, state, lack, now });
  });
  await runBatch(db, statements);
}

type Listed = readonly { readonly accessory: string; readonly lack?: string | undefined }[];

interface Heeded {
  readonly row: Row;
  readonly app: string;
  readonly environment: string;
  readonly host: string;
  readonly state: "running" | "failed";
  readonly lack: string | undefined;
  readonly now: number;
}

function heed(db: Db, { row, app, environment, host, state, lack, now }: Heeded): Statement[] {
  const { environmentId, name, jobId } = row;
  const message = `${name} on ${host} ${lack ?? "runs again"}`;
  const failure = lack === undefined ? {} : { failure: { code: "exited", message, logs: [] } };
  return [
    db
      .update(accessories)
      .set({ state, stateSince: now, cause: lack === undefined ? null : message })
      .where(
        and(
          eq(accessories.environmentId, environmentId),
          eq(accessories.name, name),
          eq(accessories.state, row.state),
          sql`${accessories.jobId} IS ${jobId}`,
        ),
      ),
    insertEvent(db, {
      at: now,
      type: "accessory.alert",
      actor: "sluice",
      app,
      environment,
      environmentId,
      message,
      data: { accessory: name, host, state, ...failure },
    }),
  ];
}
