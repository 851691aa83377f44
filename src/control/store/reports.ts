import { and, eq, lt, sql } from "drizzle-orm";
import { type Db, runBatch } from "./db.ts";
import { instances } from "./schema.ts";

export interface InstanceReport {
  readonly instance: string;
  readonly seq: number;
  readonly state: "starting" | "ready" | "unready" | "exited";
  readonly cause?: string | undefined;
}

/**
 * Writes the agent's reports, each only if it is newer than the last one written. Answers the environments in which an
 * instance's state is another than before: a repeated or late report wakes nobody.
 */
export async function writeReports(
  db: Db,
  at: { hostId: string; now: number },
  reports: readonly InstanceReport[],
): Promise<string[]> {
  const ids = JSON.stringify(reports.map(({ instance }) => instance));
  const read = () =>
    db
      .select({ id: instances.id, environmentId: instances.environmentId, state: instances.reportState })
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
  const changed = after.filter((row) => before.find(({ id }) => id === row.id)?.state !== row.state);
  return [...new Set(changed.map(({ environmentId }) => environmentId))];
}

const writeReport = (db: Db, { hostId, now }: { hostId: string; now: number }, report: InstanceReport) =>
  db
    .update(instances)
    .set({
      reportSeq: report.seq,
      reportState: report.state,
      reportCause: report.cause ?? null,
      reportAt: now,
    })
    .where(
      and(
        eq(instances.id, report.instance),
        eq(instances.hostId, hostId),
        lt(instances.reportSeq, report.seq),
      ),
    );
