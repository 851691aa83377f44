import { and, desc, eq, isNotNull, lt, sql } from "drizzle-orm";
import type { DifferingFields, Judgement, KeptWindow } from "../../domain/canary/index.ts";
import type { Db } from "./db.ts";
import { verdicts } from "./schema/releases.ts";

interface RecordedJudgement {
  readonly window: number;
  readonly at: number;
  readonly decision: Judgement;
  readonly words: string;
  readonly counted?: KeptWindow;
}

/** Rows of eight values: D1 binds a hundred at most. */
export const MOST_VERDICTS = 12;

/** Keeps up to MOST_VERDICTS judgements with the numbers they were reached from. Twice the same window is once; a later word wins. */
export async function recordVerdicts(
  db: Db,
  releaseId: string,
  judgements: readonly RecordedJudgement[],
): Promise<void> {
  // One statement can't change a row twice.
  const byWindow = new Map(judgements.map((judgement) => [judgement.window, judgement]));
  const rows = [...byWindow.values()].map(({ window, at, words, decision, counted }) => {
    const { verdict, reason, ...numbers } = decision;
    return { releaseId, window, at, verdict, reason, words, numbers, counted: counted ?? null };
  });
  if (rows.length === 0) return;
  const set = {
    at: sql`excluded.at`,
    verdict: sql`excluded.verdict`,
    reason: sql`excluded.reason`,
    words: sql`excluded.words`,
    numbers: sql`excluded.numbers`,
    counted: sql`excluded.counted`,
  };
  await db
    .insert(verdicts)
    .values(rows)
    .onConflictDoUpdate({ target: [verdicts.releaseId, verdicts.window], set });
}

export type VerdictRow = typeof verdicts.$inferSelect;

/** A release's judgements, newest first. `before`: the window after which the page begins. */
export const listVerdicts = (
  db: Db,
  query: { readonly release: string; readonly before: number | null; readonly limit: number },
): Promise<VerdictRow[]> =>
  db
    .select()
    .from(verdicts)
    .where(
      and(
        eq(verdicts.releaseId, query.release),
        query.before === null ? undefined : lt(verdicts.window, query.before),
      ),
    )
    .orderBy(desc(verdicts.window))
    .limit(query.limit)
    .all();

/** A release's windows as far as their counts were kept, oldest first; beside each the fields that were named by then. */
export async function listKeptWindows(
  db: Db,
  release: string,
  limit: number,
): Promise<{ counted: KeptWindow; differing: DifferingFields | null }[]> {
  const rows = await db
    .select({
      counted: verdicts.counted,
      differing: sql<string | null>`json_extract(${verdicts.numbers}, '$.differing')`,
    })
    .from(verdicts)
    .where(and(eq(verdicts.releaseId, release), isNotNull(verdicts.counted)))
    .orderBy(verdicts.window)
    .limit(limit)
    .all();
  return rows.flatMap(({ counted, differing }) =>
    // As the judge wrote it.
    counted
      ? [{ counted, differing: differing === null ? null : (JSON.parse(differing) as DifferingFields) }]
      : [],
  );
}
