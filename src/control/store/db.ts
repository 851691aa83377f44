import type { BatchItem } from "drizzle-orm/batch";
import { type DrizzleD1Database, drizzle } from "drizzle-orm/d1";

export type Db = DrizzleD1Database;
export type Statement = BatchItem<"sqlite">;

export const openDb = (d1: D1Database): Db => drizzle(d1);

/** Runs the statements in one D1 transaction, in order; answers each one's result. Nothing to run is nothing to do. */
export async function runBatch(db: Db, statements: readonly Statement[]): Promise<readonly unknown[]> {
  const [first, ...rest] = statements;
  return first ? db.batch([first, ...rest]) : [];
}

/** Whether a batch failed because the world had moved: a guard set NULL, or a unique row was already there. */
export function isLostRace(error: unknown): boolean {
  return /NOT NULL constraint failed|UNIQUE constraint failed/.test(wordsOf(error));
}

/**
 * Runs what reads, decides and writes, again from what is there by then when another writer was first. Undefined: another
 * one was first each time.
 */
export async function unlessOvertaken<T>(attempts: number, work: () => Promise<T>): Promise<T | undefined> {
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (!isLostRace(error)) throw error;
    }
  }
  return undefined;
}

/** The messages of an error and of all its causes: drizzle wraps what D1 said. */
export function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message}: ${wordsOf(error.cause)}`;
}
