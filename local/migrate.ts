import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Miniflare } from "miniflare";

const MIGRATIONS = new URL("../migrations", import.meta.url).pathname;
type Database = Awaited<ReturnType<Miniflare["getD1Database"]>>;

/** Applies what is new in `migrations/`, in the order of names, with the notes that it was: all of it in one batch, or nothing. */
export async function migrate(db: Database): Promise<void> {
  // The table that `wrangler d1 migrations apply` keeps: either tool may go on where the other stopped.
  await db
    .prepare(
      "CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)",
    )
    .run();
  const applied = await db.prepare("SELECT name FROM d1_migrations").all<{ name: string }>();
  const done = new Set(applied.results.map(({ name }) => name));
  const files = (await readdir(MIGRATIONS)).filter((name) => name.endsWith(".sql")).sort();
  const pending = files.filter((file) => !done.has(file));
  const statements = await Promise.all(pending.map((name) => statementsOf(db, name)));
  if (statements.length > 0) await db.batch(statements.flat());
}

async function statementsOf(db: Database, name: string): Promise<ReturnType<Database["prepare"]>[]> {
  const text = await readFile(join(MIGRATIONS, name), "utf8");
  const noted = db.prepare("INSERT INTO d1_migrations (name) VALUES (?)").bind(name);
  return [...text.split("--> statement-breakpoint").map((sql) => db.prepare(sql.trim())), noted];
}
