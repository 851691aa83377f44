import pg from "pg";
import { query } from "./database.ts";
import { within } from "./deadline.ts";
import { misfit, type Recorded } from "./schema.ts";
import { pingSessions } from "./sessions.ts";
import { settings } from "./settings.ts";

/** Answers, but slower than this: somebody should look. */
const SLOW_MS = 500;
const ANSWER_WITHIN_MS = 2_000;

export interface Check {
  status: "up" | "down" | "degraded";
  /** Milliseconds. */
  responseTime: number;
  error?: string;
}

export interface Health {
  status: "healthy" | "degraded" | "unhealthy";
  version: string;
  checks: { database: Check; schema: Check; sessions: Check };
}

/**
 * Without PostgreSQL, or with a schema this version can't work with, nothing can be sold: unhealthy. Without Redis the shop
 * window still opens: degraded, and taking the instance away would help nobody, for its neighbours use the same Redis.
 */
export async function checkHealth(): Promise<Health> {
  const [database, schema, sessions] = await Promise.all([
    check("PostgreSQL", () => query("SELECT 1")),
    check("PostgreSQL", checkSchema),
    check("Redis", pingSessions),
  ]);
  const checks = { database, schema, sessions };
  const isUnhealthy = database.status === "down" || schema.status === "down";
  const isHealthy = Object.values(checks).every(({ status }) => status === "up");
  const status = isUnhealthy ? "unhealthy" : isHealthy ? "healthy" : "degraded";
  return { status, version: settings.version, checks };
}

async function check(name: string, call: () => Promise<unknown>): Promise<Check> {
  const from = performance.now();
  const responseTime = () => Math.round((performance.now() - from) * 10) / 10;
  try {
    await within(ANSWER_WITHIN_MS, name, call());
    return { status: responseTime() > SLOW_MS ? "degraded" : "up", responseTime: responseTime() };
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    return { status: "down", responseTime: responseTime(), error: words };
  }
}

async function checkSchema(): Promise<void> {
  const problem = misfit(settings.step, await readRecorded());
  if (problem) throw new Error(problem);
}

async function readRecorded(): Promise<Recorded[]> {
  try {
    return await query<Recorded>(`SELECT id, finished_at AS "finishedAt" FROM migrations`);
  } catch (error) {
    // No such table: an empty database, on which nothing has run.
    if (error instanceof pg.DatabaseError && error.code === "42P01") return [];
    throw error;
  }
}
