import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { type Migration, migrations, type Phase, type Recorded, RefusedError, tooNew } from "./schema.ts";
import { settings } from "./settings.ts";

/**
 * `migrate expand` before a version starts, `migrate contract` when the one before it can't come back. Both run while a
 * version serves. What is recorded as done is never done again, and what would harm a version that is connected is refused.
 */
const WAIT_MS = Number(process.env.MIGRATE_WAIT_MS ?? 30_000);
const LOOK_EVERY_MS = 200;
/** Whoever waits for a table's lock holds up everybody behind it: give up soon, let them pass, try again. */
const LOCK_TIMEOUT_MS = 1_000;
const LOCK_TRIES = 20;
const LOCK_NOT_AVAILABLE = "55P03";

async function migrate(phase: Phase): Promise<void> {
  const db = new pg.Client({
    connectionString: settings.databaseUrl,
    application_name: "shop-migrate",
    connectionTimeoutMillis: 5_000,
  });
  await db.connect();
  try {
    await beAlone(db);
    await db.query(`CREATE TABLE IF NOT EXISTS migrations (
      id text PRIMARY KEY,
      version text NOT NULL,
      started_at timestamptz NOT NULL DEFAULT now(),
      finished_at timestamptz
    )`);
    const recorded = await db.query<Recorded>(`SELECT id, finished_at AS "finishedAt" FROM migrations`);
    await runPending(db, phase, recorded.rows);
  } finally {
    await db.end();
  }
}

async function runPending(db: pg.Client, phase: Phase, recorded: Recorded[]): Promise<void> {
  const beyond = tooNew(settings.step, recorded);
  if (beyond) throw new RefusedError(beyond);
  const isDone = ({ id }: Migration) => recorded.some((row) => row.id === id && row.finishedAt);
  const wanted = migrations.filter(({ step }) => step <= settings.step);
  const missing = wanted.find((migration) => migration.phase === "expand" && !isDone(migration));
  if (phase === "contract" && missing) throw new RefusedError(`${missing.id} has not run yet: expand first`);
  const pending = wanted.filter((migration) => migration.phase === phase && !isDone(migration));
  if (pending.length === 0) console.log(`${phase} for step ${settings.step}: nothing left to do`);
  for (const migration of pending) await runOne(db, migration);
}

async function runOne(db: pg.Client, migration: Migration): Promise<void> {
  const from = performance.now();
  await olderToLeave(db, migration);
  await migration.check?.(db);
  await db.query(
    `INSERT INTO migrations (id, version) VALUES ($1, $2)
    ON CONFLICT (id) DO UPDATE SET version = excluded.version, started_at = now()`,
    [migration.id, settings.version],
  );
  await db.query(`SET lock_timeout = ${LOCK_TIMEOUT_MS}`);
  await retryingLocks(() => migration.run(db));
  await db.query("UPDATE migrations SET finished_at = now() WHERE id = $1", [migration.id]);
  console.log(`${migration.id}: done in ${Math.round(performance.now() - from)} ms`);
}

/** One migration at a time. PostgreSQL lets go of the lock by itself when this program dies. */
async function beAlone(db: pg.Client): Promise<void> {
  const isAlone = async () => {
    const { rows } = await db.query<{ got: boolean }>(
      "SELECT pg_try_advisory_lock(hashtext('shop migrations')) AS got",
    );
    return rows[0]?.got === true;
  };
  if (!(await eventually(isAlone)))
    throw new RefusedError("another migration is still running: try again after it");
}

/** A version that is being stopped is given the time to leave. */
async function olderToLeave(db: pg.Client, { id, beside }: Migration): Promise<void> {
  let older: string[] = [];
  const haveLeft = async () => {
    const { rows } = await db.query<{ step: number; connections: number }>(
      `SELECT substring(application_name FROM '^shop-step-([0-9]+)$')::integer AS step, count(*)::integer AS connections
      FROM pg_stat_activity WHERE datname = current_database() AND application_name ~ '^shop-step-[0-9]+$' GROUP BY 1`,
    );
    older = rows
      .filter(({ step }) => step < beside)
      .map(({ step, connections }) => `step ${step} with ${connections} connections`);
    return older.length === 0;
  };
  if (await eventually(haveLeft)) return;
  throw new RefusedError(
    `${id} would break a version that is running (${older}): stop it first, or wait until it can't be rolled back to`,
  );
}

async function eventually(isSo: () => Promise<boolean>): Promise<boolean> {
  const until = Date.now() + WAIT_MS;
  while (!(await isSo())) {
    if (Date.now() >= until) return false;
    await sleep(LOOK_EVERY_MS);
  }
  return true;
}

async function retryingLocks(run: () => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await run();
    } catch (error) {
      const isLocked = error instanceof pg.DatabaseError && error.code === LOCK_NOT_AVAILABLE;
      if (!isLocked || tries === LOCK_TRIES) throw error;
      await sleep(LOOK_EVERY_MS);
    }
  }
}

const phase = process.argv[2];
if (phase === "expand" || phase === "contract") {
  try {
    await migrate(phase);
  } catch (error) {
    const words = error instanceof Error ? error.message : error;
    console.error(error instanceof RefusedError ? `refused: ${words}` : error);
    process.exitCode = 1;
  }
} else {
  console.error(`migrate ${phase ?? ""}: say \`migrate expand\` or \`migrate contract\``);
  process.exitCode = 2;
}
