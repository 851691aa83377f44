import { query } from "./database.ts";
import { type SchemaStep, settings } from "./settings.ts";

export interface User {
  id: string;
  email: string;
}

/**
 * One column is renamed without a moment in which a version can't work:
 *   1  reads and writes `email`
 *   2  writes both, reads `contact_email` and, for rows that version 1 still writes, `email`
 *   3  reads and writes `contact_email`; `email` goes when version 2 can't come back
 * Each works beside the one before it. An address is never changed here; if yours is, let 2 read the old column until the
 * last 1 is gone: only there a change made by 1 is seen.
 */
const statements: Record<SchemaStep, { find: string; insert: string; read: string }> = {
  1: {
    find: "SELECT id FROM users WHERE email = $1",
    insert: "INSERT INTO users (email) VALUES ($1) ON CONFLICT DO NOTHING RETURNING id",
    read: "SELECT id, email FROM users WHERE id = $1",
  },
  2: {
    find: "SELECT id FROM users WHERE contact_email = $1 OR (contact_email IS NULL AND email = $1)",
    insert: "INSERT INTO users (email, contact_email) VALUES ($1, $1) ON CONFLICT DO NOTHING RETURNING id",
    read: "SELECT id, coalesce(contact_email, email) AS email FROM users WHERE id = $1",
  },
  3: {
    find: "SELECT id FROM users WHERE contact_email = $1",
    insert: "INSERT INTO users (contact_email) VALUES ($1) ON CONFLICT DO NOTHING RETURNING id",
    read: "SELECT id, contact_email AS email FROM users WHERE id = $1",
  },
};
const sql = statements[settings.step];

/** The id of the user with this address, who is made when there is none. */
export async function ensureUser(email: string): Promise<string> {
  // The insert answers nothing when another request or version was faster; the row is then there to be found.
  for (const statement of [sql.find, sql.insert, sql.find]) {
    const [row] = await query<{ id: string }>(statement, [email]);
    if (row) return row.id;
  }
  throw new Error("the user was neither found nor made");
}

export async function readUser(id: string): Promise<User | undefined> {
  const [user] = await query<User>(sql.read, [id]);
  return user;
}
