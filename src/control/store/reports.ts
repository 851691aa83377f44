import { and, eq, lt, sql } from "drizzle-orm";
import { type Db, runBatch } from "./db.ts";
import { instances } from "./schema.ts";

export interface InstanceReport {
  readonly instance: string;
  readonly seq: number;
  readonly state: "starting" | "ready" | "unready" | "exited";
  readonly cause?: string | undefined;
  /** Epoch ms by the agent's clock, oldest first. */
  readonly exits: readonly number[];
}

export interface ReportedBy {
  readonly hostId: string;
  readonly now: number;
  /** How far the agent's clock was ahead when it sent. */
  readonly clockSkewMs: number;
}

/**
 * Writes the agent's reports, each only if it is newer than the last one written. Answers the environments in which an
 * instance's state is another than before, or that ended and came back meanwhile: a repeated or late report wakes nobody.
 */
export async function writeReports(
  db: Db,
  at: ReportedBy,
  reports: readonly InstanceReport[],
): Promise<string[]> {
  const ids = JSON.stringify(reports.map(({ instance }) => instance));
  const read = () =>
    db
      .select({
        id: instances.id,
        environmentId: instances.environmentId,
        state: instances.reportState,
        exits: sql<string>`${instances.exits}`.as("exits_text"),
      })
      .from(instances)
      .where(
        sql`${instances.hostId} = ${at.hostId} AND ${instances.id} IN (SELECT value FROM json_each(${ids}))`,
      );
  const results = await runBatch(db, [
    read(),
    ...reports.map((report) => writeReport(db, at, report)),
    read(),
  ]);
  // The first and the last statement are the same selection, before and after.
  const before = results[0] as Awaited<ReturnType<typeof read>>;
  const after = results.at(-1) as typeof before;
  const changed = after.filter((row) => {
    const was = before.find(({ id }) => id === row.id);
    return was?.state !== row.state || was.exits !== row.exits;
  });
  return [...new Set(changed.map(({ environmentId }) => environmentId))];
}

const writeReport = (db: Db, { hostId, now, clockSkewMs }: ReportedBy, report: InstanceReport) =>
  db
    .update(instances)
    .set({
      reportSeq: report.seq,
      reportState: report.state,
      reportCause: report.cause ?? null,
      reportAt: now,
      // None of them is yet to come, whatever the clocks say.
      exits: report.exits.map((at) => Math.min(now, at - clockSkewMs)),
    })
    .where(
      and(
        eq(instances.id, report.instance),
        eq(instances.hostId, hostId),
        lt(instances.reportSeq, report.seq),
      ),
    );
