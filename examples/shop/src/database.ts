import pg from "pg";
import { UnavailableError } from "./deadline.ts";
import { settings } from "./settings.ts";

/** Each connection says which step its program is: a migration asks PostgreSQL who is there (schema.ts). */
const APPLICATION_NAME = `shop-step-${settings.step}`;

const pool = new pg.Pool({
  connectionString: settings.databaseUrl,
  application_name: APPLICATION_NAME,
  max: 10,
  // One stays open while nobody visits, else an idle instance would look as if it were gone.
  min: 1,
  connectionTimeoutMillis: 3_000,
  query_timeout: 5_000,
  statement_timeout: 5_000,
});
// A connection that breaks while idle is replaced by the next query; without a listener it would end the process.
pool.on("error", (error) => console.error(`PostgreSQL: ${error.message}`));

/** Runs one statement. Throws {@link UnavailableError} when PostgreSQL can't be reached or takes too long. */
export async function query<Row extends pg.QueryResultRow>(
  sql: string,
  values: unknown[] = [],
): Promise<Row[]> {
  try {
    return (await pool.query<Row>(sql, values)).rows;
  } catch (error) {
    if (!isUnreachable(error)) throw error;
    throw new UnavailableError(`PostgreSQL: ${error instanceof Error ? error.message : error}`, {
      cause: error,
    });
  }
}

export const closeDatabase = (): Promise<void> => pool.end();

/** What PostgreSQL itself says has a five-character SQLSTATE. 08, 53, 57: connection, resources, shutdown. */
function isUnreachable(error: unknown): boolean {
  if (!(error instanceof pg.DatabaseError)) return true;
  return /^(08|53|57)/.test(error.code ?? "");
}
