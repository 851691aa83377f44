import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

const MIGRATIONS = new URL("../../../migrations", import.meta.url).pathname;

/** wrangler's own. */
export const MIGRATIONS_TABLE =
  "CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL);";

let made: string | undefined;

/** A database with all migrations applied, and noted as wrangler does: a tenth of the work of applying them again. */
export function migratedDatabase(): DatabaseSync {
  made ??= statementsOf(migrate(new DatabaseSync(":memory:")));
  const sqlite = new DatabaseSync(":memory:");
  sqlite.exec(made);
  return sqlite;
}

function migrate(sqlite: DatabaseSync): DatabaseSync {
  sqlite.exec(MIGRATIONS_TABLE);
  const names = readdirSync(MIGRATIONS).filter((name) => name.endsWith(".sql"));
  for (const name of names.sort()) {
    sqlite.exec(readFileSync(join(MIGRATIONS, name), "utf8"));
    sqlite.prepare("INSERT INTO d1_migrations (name) VALUES (?)").run(name);
  }
  return sqlite;
}

/** Tables, indexes, and what was applied: migrations leave no other row in an empty database. */
function statementsOf(sqlite: DatabaseSync): string {
  const schema = sqlite
    .prepare("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'")
    .all();
  const applied = sqlite.prepare("SELECT name FROM d1_migrations ORDER BY id").all();
  return [
    ...schema.map(({ sql }) => `${sql};`),
    ...applied.map(({ name }) => `INSERT INTO d1_migrations (name) VALUES ('${name}');`),
  ].join("\n");
}
