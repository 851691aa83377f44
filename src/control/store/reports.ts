import { and, eq, isNull, type SQL, sql } from "drizzle-orm";
import type { ReportState } from "../../domain/rollout/facts.ts";
import { type Db, runBatch, type Statement } from "./db.ts";
import { events } from "./schema/events.ts";
import { instances } from "./schema/instances.ts";
import { tallies } from "./schema/tallies.ts";

export interface InstanceReport {
  readonly instance: string;
  readonly seq: number;
  readonly state: ReportState;
  readonly cause?: string | undefined;
  /** Epoch ms by the agent's clock, oldest first. */
  readonly exits: readonly number[];
}

export interface ReportedBy {
  readonly hostId: string | SQL;
  /** Of the agent process: numbers of another one say nothing about this one's. */
  readonly boot: string;
  readonly now: number;
  /** How far the agent's clock was ahead when it sent. */
  readonly clockSkewMs: number;
}

/** All that an agent process says it answers for, after so many reports. */
export interface Inventory {
  readonly seq: number;
  readonly instances: readonly InstanceReport[];
}

/**
 * Writes the agent's reports, each only if it is newer than the last one written. Answers the environments in which an
 * instance's state is another than before, or that ended and came back meanwhile: a repeated or late report wakes nobody.
 * Undefined: nothing is on that host, if it is one.
 */
export const writeReports = (
  db: Db,
  by: ReportedBy,
  reports: readonly InstanceReport[],
): Promise<string[] | undefined> =>
  writeAndCompare(
    db,
    by,
    reports.flatMap((report) => {
      const check = FAILED_CHECKS[report.state];
      const told = tellChange(db, by, report, isReported(by, report));
      return [...(check ? [countFailure(db, by, report, check)] : []), ...told, writeReport(db, by, report)];
    }),
  );

/** What a report says of an instance that was ready. */
const FAILED_CHECKS: Partial<Record<ReportState, string>> = { unready: "readiness", exited: "process" };

/** Before the report is written: a repeated or late one finds another state, or a higher number, and counts nothing. */
const countFailure = (db: Db, by: ReportedBy, { instance, seq }: InstanceReport, check: string) =>
  db
    .insert(tallies)
    .select(sql`SELECT environment_id, 'checks', ${check}, 1 FROM instances WHERE id = ${instance}
    AND host_id = ${by.hostId} AND report_state = 'ready' AND ${isNews(sql`instances`, { boot: by.boot, seq })}
    ON CONFLICT (environment_id, metric, labels) DO UPDATE SET value = value + 1`);

const GONE = { state: "gone", cause: "it is not on its host any more" } as const;

/** What the feed says of an instance that ended, or answers again; its other states are seen in `status` while they last. */
const TOLD: Partial<Record<ReportState, { readonly says: string; readonly after: SQL }>> = {
  exited: { says: " ended", after: sql`('ready', 'unready')` },
  gone: { says: " is gone", after: sql`('ready', 'unready')` },
  ready: { says: " answers again", after: sql`('exited', 'gone', 'starting')` },
};

/** Before reports are written, as above, of those instances `i`. One that is started in vain meanwhile is told of once. */
function tellChange(
  db: Db,
  by: ReportedBy,
  { state, cause }: Pick<InstanceReport, "state" | "cause">,
  which: SQL,
) {
  const told = TOLD[state];
  if (!told) return [];
  const why = state === "ready" || !cause ? "" : `: ${cause}`;
  return [
    db
      .insert(events)
      .select(sql`SELECT NULL, ${by.now}, 'instance.state', 'sluice', p.name, e.name, e.id, i.release_id,
      coalesce(i.process || ' of ', '') || r.version || ' on ' || h.name || ${told.says + why},
      json_object('instance', i.id, 'host', h.name, 'slot', s.n, 'process', i.process, 'state', ${state}, 'cause', ${cause ?? null})
      FROM instances i JOIN releases r ON r.id = i.release_id JOIN hosts h ON h.id = i.host_id
        JOIN environments e ON e.id = i.environment_id JOIN apps p ON p.id = e.app_id LEFT JOIN slots s ON s.id = i.slot_id
      WHERE i.host_id = ${by.hostId} AND i.stopped_at IS NULL AND i.state IN ('serving', 'warm')
        AND i.report_state IN ${told.after} AND ${which}`),
  ];
}

const isReported = ({ boot }: ReportedBy, { instance, seq }: Pick<InstanceReport, "instance" | "seq">) =>
  sql`i.id = ${instance} AND ${isNews(sql`i`, { boot, seq })}`;

/**
 * Puts right what is written here of a host's instances by what its agent runs: reports that were lost on the way, and
 * instances that it does not have. Answers the environments of those that changed.
 */
export const reconcile = async (
  db: Db,
  by: ReportedBy,
  { seq, instances: listed }: Inventory,
): Promise<string[]> =>
  (await writeAndCompare(db, by, [
    ...listed.flatMap((report) => [
      ...tellChange(db, by, report, isReported(by, report)),
      writeReport(db, by, report, isToldByPoll(sql`instances`, report.state)),
    ]),
    ...tellChange(
      db,
      by,
      GONE,
      sql`${isUnlisted(sql`i`, { boot: by.boot, seq })} AND i.id NOT IN (SELECT value FROM json_each(${idsOf(listed)}))`,
    ),
    db
      .update(instances)
      .set(columnsOf(by, { seq, ...GONE }))
      .where(
        and(
          eq(instances.hostId, by.hostId),
          isNull(instances.stoppedAt),
          isUnlisted(sql`instances`, { boot: by.boot, seq }),
          sql`${instances.id} NOT IN (SELECT value FROM json_each(${idsOf(listed)}))`,
        ),
      ),
  ])) ?? [];

/** How many of a host's instances {@link reconcile} would write: to be read with the heartbeat, so that idle polls stay one query. */
export function countDiffering(hostId: SQL, boot: string, { seq, instances: listed }: Inventory): SQL {
  const told = JSON.stringify(listed.map(({ instance, seq, state }) => ({ instance, seq, state })));
  return sql`(SELECT count(*) FROM instances i LEFT JOIN json_each(${told}) p ON p.value ->> 'instance' = i.id
    WHERE i.host_id = ${hostId} AND i.stopped_at IS NULL AND CASE WHEN p.key IS NULL
      THEN ${isUnlisted(sql`i`, { boot, seq })}
      ELSE ${isNews(sql`i`, { boot, seq: sql`p.value ->> 'seq'` })} AND ${isToldByPoll(sql`i`, sql`p.value ->> 'state'`)} END)`;
}

const isNews = (i: SQL, { boot, seq }: { boot: string; seq: SQL | number }) =>
  sql`(${i}.report_boot IS NOT ${boot} OR ${i}.report_seq < (${seq}))`;

/** A first start is told by its job. */
const isToldByPoll = (i: SQL, state: SQL | ReportState) =>
  sql`(${i}.report_state IS NOT NULL OR (${state}) <> 'starting')`;

/** One that was started, and of which the agent has not said anything after it made its list. */
const isUnlisted = (i: SQL, { boot, seq }: { boot: string; seq: number }) =>
  sql`(${i}.state IN ('ready', 'serving', 'draining', 'warm') AND ${i}.report_state <> 'gone'
    AND (${i}.report_boot IS NOT ${boot} OR ${i}.report_seq <= ${seq}))`;

const idsOf = (reports: readonly InstanceReport[]) => JSON.stringify(reports.map(({ instance }) => instance));

async function writeAndCompare(db: Db, { hostId }: ReportedBy, writes: readonly Statement[]) {
  const read = () =>
    db
      .select({
        id: instances.id,
        environmentId: instances.environmentId,
        state: instances.reportState,
        exits: sql<string>`${instances.exits}`.as("exits_text"),
      })
      .from(instances)
      .where(and(eq(instances.hostId, hostId), isNull(instances.stoppedAt)));
  const results = await runBatch(db, [read(), ...writes, read()]);
  // The first and the last statement are the same selection, before and after.
  const before = results[0] as Awaited<ReturnType<typeof read>>;
  if (before.length === 0) return undefined;
  const after = results.at(-1) as typeof before;
  const changed = after.filter((row) => {
    const was = before.find(({ id }) => id === row.id);
    return was?.state !== row.state || was.exits !== row.exits;
  });
  return [...new Set(changed.map(({ environmentId }) => environmentId))];
}

const writeReport = (db: Db, by: ReportedBy, report: InstanceReport, only?: SQL) =>
  db
    .update(instances)
    .set(columnsOf(by, report))
    .where(
      and(
        eq(instances.id, report.instance),
        eq(instances.hostId, by.hostId),
        isNews(sql`instances`, { boot: by.boot, ...report }),
        // Of a second machine with the host's token nothing is written.
        sql`NOT EXISTS (SELECT 1 FROM hosts h WHERE h.id = ${by.hostId} AND h.boot_refused = ${by.boot})`,
        only,
      ),
    );

function columnsOf(
  { boot, now, clockSkewMs }: ReportedBy,
  report: Omit<InstanceReport, "instance" | "exits"> & { exits?: readonly number[] },
) {
  const isReady = report.state === "ready";
  return {
    reportSeq: report.seq,
    reportBoot: boot,
    reportState: report.state,
    reportCause: report.cause ?? null,
    reportAt: sql`CASE WHEN (${instances.reportState} = 'ready') IS ${isReady ? 1 : 0} THEN ${instances.reportAt} ELSE ${now} END`,
    // None of them is yet to come, whatever the clocks say.
    ...(report.exits && { exits: report.exits.map((at) => Math.min(now, at - clockSkewMs)) }),
  };
}
