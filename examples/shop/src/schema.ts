import type { Client } from "pg";
import type { SchemaStep } from "./settings.ts";

export type Phase = "expand" | "contract";

export interface Migration {
  id: `${SchemaStep}-${Phase}`;
  step: SchemaStep;
  phase: Phase;
  /** The oldest version it may run beside. */
  beside: number;
  /** Throws {@link RefusedError} when it must not begin. */
  check?: (db: Client) => Promise<void>;
  /** Can be run again when it was cut short: each statement first looks whether it is still needed. */
  run: (db: Client) => Promise<void>;
}

/** What the `migrations` table says. One that began and did not end has no `finishedAt`. */
export interface Recorded {
  id: string;
  finishedAt: Date | null;
}

export class RefusedError extends Error {
  override readonly name = "RefusedError";
}

/** In the order they are run. Nothing here is ever edited once it ran somewhere: a change is a new migration. */
export const migrations: Migration[] = [
  {
    id: "1-expand",
    step: 1,
    phase: "expand",
    beside: 1,
    run: async (db) => {
      await db.query(`CREATE TABLE IF NOT EXISTS users (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        email text NOT NULL UNIQUE,
        created_at timestamptz NOT NULL DEFAULT now()
      )`);
      await db.query(`CREATE TABLE IF NOT EXISTS orders (
        id text PRIMARY KEY,
        user_id bigint NOT NULL REFERENCES users (id),
        item text NOT NULL,
        quantity integer NOT NULL CHECK (quantity > 0),
        created_at timestamptz NOT NULL DEFAULT now()
      )`);
      await db.query("CREATE INDEX IF NOT EXISTS orders_of_user ON orders (user_id, created_at DESC)");
    },
  },
  {
    id: "2-expand",
    step: 2,
    phase: "expand",
    beside: 1,
    run: async (db) => {
      await db.query("ALTER TABLE users ADD COLUMN IF NOT EXISTS contact_email text");
      await uniqueContactEmail(db);
      await fillContactEmail(db);
    },
  },
  {
    id: "3-expand",
    step: 3,
    phase: "expand",
    beside: 2,
    run: async (db) => {
      // Version 1 wrote on while version 2 took over. It is gone now, so this leaves no row out.
      await fillContactEmail(db);
      await db.query("ALTER TABLE users ALTER COLUMN email DROP NOT NULL");
    },
  },
  {
    id: "3-contract",
    step: 3,
    phase: "contract",
    beside: 3,
    check: refuseLoss,
    run: async (db) => {
      // SET NOT NULL alone would read the whole table while everybody waits; a validated check spares it that.
      await db.query("ALTER TABLE users DROP CONSTRAINT IF EXISTS contact_email_given");
      await db.query(
        "ALTER TABLE users ADD CONSTRAINT contact_email_given CHECK (contact_email IS NOT NULL) NOT VALID",
      );
      await db.query("ALTER TABLE users VALIDATE CONSTRAINT contact_email_given");
      await db.query("ALTER TABLE users ALTER COLUMN contact_email SET NOT NULL");
      await db.query("ALTER TABLE users DROP CONSTRAINT contact_email_given");
      await db.query("ALTER TABLE users DROP COLUMN IF EXISTS email");
    },
  },
];

/** Why a version with this step can't work with the database, if so. */
export function misfit(step: SchemaStep, recorded: Recorded[]): string | undefined {
  const beyond = tooNew(step, recorded);
  if (beyond) return beyond;
  const expand = recorded.find(({ id }) => id === `${step}-expand`);
  if (expand?.finishedAt) return undefined;
  const state = expand ? "has begun but not ended" : "has not run";
  return `migration ${step}-expand ${state} on this database: run \`migrate expand\` of this version first`;
}

/** Begun counts: what is half taken away is gone for an older version. */
export function tooNew(step: SchemaStep, recorded: Recorded[]): string | undefined {
  const ids = new Set(recorded.map(({ id }) => id));
  const blocking = migrations.find(({ id, beside }) => ids.has(id) && beside > step);
  return (
    blocking &&
    `migration ${blocking.id} has begun on this database, and step ${step} can't work after it: deploy step ${blocking.beside} or later`
  );
}

async function uniqueContactEmail(db: Client): Promise<void> {
  // Built without holding up writes. One that was interrupted leaves an index that nobody uses and that is in the way.
  const { rows } = await db.query<{ isValid: boolean }>(
    `SELECT indisvalid AS "isValid" FROM pg_index WHERE indexrelid = to_regclass('users_contact_email')`,
  );
  if (rows[0]?.isValid) return;
  await db.query("DROP INDEX CONCURRENTLY IF EXISTS users_contact_email");
  await db.query("CREATE UNIQUE INDEX CONCURRENTLY users_contact_email ON users (contact_email)");
}

/** A thousand rows at a time, so that no visitor waits for a long transaction. */
async function fillContactEmail(db: Client): Promise<void> {
  let last: string | null = "0";
  while (last !== null) {
    const { rows }: { rows: { last: string | null }[] } = await db.query(
      `WITH batch AS (SELECT id FROM users WHERE id > $1 ORDER BY id LIMIT 1000),
        filled AS (UPDATE users SET contact_email = email FROM batch
          WHERE users.id = batch.id AND users.contact_email IS NULL)
      SELECT max(id)::text AS last FROM batch`,
      [last],
    );
    last = rows[0]?.last ?? null;
  }
}

async function refuseLoss(db: Client): Promise<void> {
  const { rows } = await db.query<{ count: number }>(
    "SELECT count(*)::integer AS count FROM users WHERE contact_email IS NULL",
  );
  const count = rows[0]?.count ?? 0;
  if (count > 0) {
    throw new RefusedError(
      `${count} users have no contact_email yet, and their address would go with the old column: ` +
        "fill it by `UPDATE users SET contact_email = email WHERE contact_email IS NULL`",
    );
  }
}
