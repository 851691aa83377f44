import { and, desc, eq, lt } from "drizzle-orm";
import type { Judgement } from "../../domain/canary/judge.ts";
import type { Db } from "./db.ts";
import { verdicts } from "./schema/releases.ts";

interface RecordedJudgement {
  readonly window: number;
  readonly at: number;
  readonly decision: Judgement;
  readonly words: string;
}

/** Keeps each judgement with the numbers it was reached from. Twice the same window is once; a later word wins. */
export async function recordVerdicts(
  db: Db,
  releaseId: string,
  judgements: readonly RecordedJudgement[],
): Promise<void> {
  for (const { window, at, words, decision } of judgements) {
    const { verdict, reason, ...numbers } = decision;
    const row = { releaseId, window, at, verdict, reason, words, numbers };
    await db
      .insert(verdicts)
      .values(row)
      .onConflictDoUpdate({ target: [verdicts.releaseId, verdicts.window], set: row });
  }
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
