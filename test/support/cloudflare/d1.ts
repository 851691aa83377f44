import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import { z } from "zod";
import { LIMITS } from "./account-limits.ts";
import { ofAccount } from "./accounts.ts";
import { bodyOf, type Call, type Endpoint, Refusal } from "./api.ts";
import { migratedDatabase } from "./migrated.ts";
import { type D1Database, drop, type World } from "./world.ts";

const BASE = "/accounts/:account/d1/database";
const READ = "Account › D1 › Read";
const EDIT = "Account › D1 › Edit";
/** Where one is put that nobody asked a place for: near the caller. */
const NEAREST = "weur";

const newDatabase = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9-_]*$/i),
  primary_location_hint: z.enum(["wnam", "enam", "weur", "eeur", "apac", "oc"]).optional(),
});
const query = z.strictObject({ sql: z.string().min(1), params: z.array(z.string()).optional() });

/** D1, on real SQLite: a migration that SQLite refuses is refused here. */
export const d1 = (world: World): Endpoint[] => [...databases(world), ...contents(world)];

const databases = (world: World): Endpoint[] => [
  {
    method: "GET",
    path: BASE,
    permission: READ,
    query: ["name"],
    pages: { size: 100, max: 1_000 },
    // By part of the name, as the API does: who wants one database has to compare.
    handle: (call) =>
      ofAccount(world, call)
        .databases.filter(({ name }) => name.includes(call.query.name ?? ""))
        .map(view),
  },
  {
    method: "POST",
    path: BASE,
    permission: EDIT,
    body: newDatabase,
    handle: (call) => {
      const { name, primary_location_hint: hint = NEAREST } = bodyOf(call, newDatabase);
      if (ofAccount(world, call).databases.some((one) => one.name === name))
        throw new Refusal(400, 7502, `Database with name '${name}' already exists`);
      if (world.databases.length >= LIMITS.databases)
        throw new Refusal(400, 7_406, `You have reached the limit of ${LIMITS.databases} databases`);
      const database = {
        uuid: world.uuid(),
        name,
        region: hint.toUpperCase(),
        sqlite: world.isMigrated ? migratedDatabase() : new DatabaseSync(":memory:"),
      };
      world.databases.push(database);
      return { ...view(database), created_in_region: database.region };
    },
  },
  {
    method: "GET",
    path: `${BASE}/:database`,
    permission: READ,
    query: ["fields"],
    handle: (call) => view(databaseOf(world, call)),
  },
  {
    method: "DELETE",
    path: `${BASE}/:database`,
    permission: EDIT,
    handle: (call) => {
      drop(world.databases, databaseOf(world, call));
      return null;
    },
  },
];

const contents = (world: World): Endpoint[] => [
  {
    method: "POST",
    path: `${BASE}/:database/query`,
    permission: EDIT,
    body: query,
    handle: (call) => run(databaseOf(world, call), bodyOf(call, query)),
  },
  {
    method: "POST",
    path: `${BASE}/:database/export`,
    permission: EDIT,
    body: z.strictObject({
      output_format: z.literal("polling"),
      dump_options: z.unknown().optional(),
      current_bookmark: z.unknown().optional(),
    }),
    handle: (call) => {
      const signed_url = `data:application/sql;base64,${btoa(dump(databaseOf(world, call)))}`;
      return {
        success: true,
        status: "complete",
        messages: [],
        result: { filename: "export.sql", signed_url },
      };
    },
  },
];

/** What wrangler writes into a file: the tables and their rows as statements. */
function dump({ sqlite }: D1Database): string {
  const tables = sqlite
    .prepare("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
    .all();
  const rows = tables.flatMap(({ name }) =>
    sqlite
      .prepare(`SELECT * FROM "${name}"`)
      .all()
      .map(
        (row) =>
          `INSERT INTO "${name}" VALUES(${Object.values(row)
            .map((value) => JSON.stringify(value))
            .join(",")});`,
      ),
  );
  return [...tables.map(({ sql }) => `${sql};`), ...rows].join("\n");
}

/** Found by id and by name. */
function databaseOf(world: World, call: Call): D1Database {
  const { database } = call.params;
  const found = ofAccount(world, call).databases.find(
    ({ uuid, name }) => uuid === database || name === database,
  );
  if (!found) throw new Refusal(404, 7404, `The database ${database} could not be found`);
  return found;
}

/** All statements or none, an answer for each. */
function run({ sqlite, region }: D1Database, { sql, params = [] }: z.infer<typeof query>) {
  const statements = sql
    .split(/;[ \t]*(?=--|\n|$)/)
    .filter((text) => text.replace(/--.*$/gm, "").trim() !== "");
  sqlite.exec("BEGIN");
  try {
    const answers = statements.map((text) => ({
      results: sqlite.prepare(text).all(...(params as SQLInputValue[])),
      success: true,
      meta: {
        duration: 0,
        changes: 0,
        rows_read: 0,
        rows_written: 0,
        served_by: "stand-in",
        served_by_region: region,
      },
    }));
    sqlite.exec("COMMIT");
    return answers;
  } catch (error) {
    sqlite.exec("ROLLBACK");
    throw new Refusal(400, 7500, error instanceof Error ? error.message : String(error));
  }
}

const view = ({ uuid, name }: D1Database) => ({
  uuid,
  name,
  version: "production",
  created_at: "2026-11-25T00:00:00.000Z",
  num_tables: 0,
  file_size: 12_288,
});
