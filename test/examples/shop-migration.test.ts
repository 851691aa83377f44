import pg from "pg";
import { expect } from "vitest";
import { waitFor } from "../support/patience.ts";
import { runSql } from "../support/services/postgres.ts";
import type { Shop, Step } from "../support/shop/shop.ts";
import { type ShopEnv, shopTest, useShops } from "../support/shop/shop-stand.ts";
import { startCrowd } from "../support/shop/shop-visitors.ts";

const stand = useShops([1, 2, 3]);
/** Short, where a refusal is what the test is about. */
const IMPATIENT = { MIGRATE_WAIT_MS: "300" };

async function sql(env: ShopEnv, statement: string) {
  return runSql(env.DATABASE_URL ?? "", statement);
}

const columnsOf = async (env: ShopEnv) => {
  const rows = await sql(
    env,
    "SELECT column_name FROM information_schema.columns WHERE table_name = 'users'",
  );
  return rows.map((row) => row.column_name).sort();
};

/** Resolves when the migration is at work. */
async function hasBegun(id: string, env: ShopEnv): Promise<void> {
  const isUnderWay = async () =>
    expect(await sql(env, "SELECT id FROM migrations WHERE finished_at IS NULL")).toEqual([{ id }]);
  await waitFor(isUnderWay);
}

/** The database as it is when a version has just taken over. */
async function migratedTo(step: Step): Promise<ShopEnv> {
  const env = await stand.newEnv();
  await stand.migrate(step, "expand", env);
  return env;
}

async function refusal(step: Step, phase: "expand" | "contract", env: ShopEnv): Promise<string> {
  const { code, output } = await stand.migration(step, phase, { ...env, ...IMPATIENT }).ended;
  expect(code, output).toBe(1);
  expect(output).toMatch(/^refused: /);
  return output;
}

shopTest(
  "renames a column over three versions under load without a failed request or a lost row",
  async () => {
    const env = await migratedTo(1);
    const shops: Shop[] = [await stand.open(1, env)];
    const crowd = await startCrowd(6, () => shops.map(({ url }) => url));
    await crowd.round();
    for (const step of [2, 3] as const) {
      await stand.migrate(step, "expand", env);
      await crowd.round();
      // Both versions answer each visitor in turn.
      shops.push(await stand.open(step, env));
      await crowd.round();
      const old = shops.shift();
      await crowd.round();
      expect(await old?.stop()).toBe(0);
      await stand.migrate(step, "contract", env);
      await crowd.round();
    }
    const { requests, failures, orders } = await crowd.stop();
    expect(failures).toEqual([]);
    expect(requests).toBeGreaterThan(300);
    const stored = await sql(env, "SELECT id FROM orders");
    expect(stored.map(({ id }) => id).sort()).toEqual(orders.sort());
    expect(await columnsOf(env)).toEqual(["contact_email", "created_at", "id"]);
    expect(await sql(env, "SELECT id FROM users WHERE contact_email IS NULL")).toEqual([]);
  },
);

shopTest("lets a version come back beside what the next one wrote", async () => {
  const env = await migratedTo(1);
  for (const [from, to] of [
    [2, 1],
    [3, 2],
  ] as const) {
    await stand.migrate(from, "expand", env);
    const shops = [await stand.open(from, env), await stand.open(to, env)];
    const crowd = await startCrowd(3, () => shops.map(({ url }) => url));
    await crowd.round();
    shops.shift();
    await crowd.round();
    expect((await crowd.stop()).failures).toEqual([]);
    await stand.stopShops();
  }
});

shopTest("fills the rows that the old version wrote after the first filling", async () => {
  const env = await migratedTo(2);
  await sql(
    env,
    "INSERT INTO users (email) SELECT 'late-' || n || '@example.com' FROM generate_series(1, 2500) n",
  );
  await stand.migrate(3, "expand", env);
  expect(await sql(env, "SELECT id FROM users WHERE contact_email IS DISTINCT FROM email")).toEqual([]);
});

shopTest("does nothing when it is run twice, one after the other or at once", async () => {
  const env = await stand.newEnv();
  const twice = await Promise.all([stand.migrate(3, "expand", env), stand.migrate(3, "expand", env)]);
  const done = twice.join("").match(/\d-expand: done/g);
  expect(done?.sort()).toEqual(["1-expand: done", "2-expand: done", "3-expand: done"]);
  expect(await stand.migrate(3, "contract", env)).toContain("3-contract: done");
  const before = await sql(env, "SELECT * FROM migrations ORDER BY id");
  expect(await stand.migrate(3, "expand", env)).toContain("nothing left to do");
  expect(await stand.migrate(3, "contract", env)).toContain("nothing left to do");
  expect(await sql(env, "SELECT * FROM migrations ORDER BY id")).toEqual(before);
});

shopTest("finishes on the next run what was killed half-way", async () => {
  const env = await migratedTo(1);
  const blocker = new pg.Client({ connectionString: env.DATABASE_URL ?? "" });
  await blocker.connect();
  await blocker.query("BEGIN; LOCK TABLE users");
  const killed = stand.migration(2, "expand", env);
  await waitFor(async () => {
    expect(await sql(env, "SELECT id FROM migrations WHERE finished_at IS NULL")).toEqual([
      { id: "2-expand" },
    ]);
  });
  killed.kill();
  await killed.ended;
  await blocker.query("COMMIT");
  await blocker.end();
  const shop = await stand.open(2, env);
  expect(await (await fetch(`${shop.url}/health`)).text()).toContain("2-expand has begun but not ended");
  expect(await stand.migrate(2, "expand", env)).toContain("2-expand: done");
  expect(await columnsOf(env)).toContain("contact_email");
  expect((await fetch(`${shop.url}/ready`)).status).toBe(200);
});

shopTest("replaces an index whose building was cut short", async () => {
  const env = await migratedTo(1);
  await sql(env, "ALTER TABLE users ADD contact_email text");
  await sql(env, "CREATE UNIQUE INDEX users_contact_email ON users (contact_email)");
  await sql(env, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'users_contact_email'::regclass");
  await stand.migrate(2, "expand", env);
  const index = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'users_contact_email'::regclass";
  expect(await sql(env, index)).toEqual([{ indisvalid: true }]);
});

shopTest("lets visitors pass while it waits for a table's lock", async () => {
  const env = await migratedTo(1);
  const shop = await stand.open(1, env);
  const reader = new pg.Client({ connectionString: env.DATABASE_URL ?? "" });
  await reader.connect();
  // A report that takes long: ALTER TABLE must wait for it, and whoever comes later for ALTER TABLE.
  await reader.query("BEGIN; SELECT * FROM users");
  const migrating = stand.migrate(2, "expand", env);
  await hasBegun("2-expand", env);
  const crowd = await startCrowd(2, () => [shop.url]);
  await crowd.round();
  await reader.query("COMMIT");
  await reader.end();
  await migrating;
  await crowd.round();
  expect((await crowd.stop()).failures).toEqual([]);
});

shopTest("refuses to contract while the version before runs, and does not harm it", async () => {
  const env = await migratedTo(3);
  const old = await stand.open(2, env);
  await fetch(`${old.url}/ready`);
  expect(await refusal(3, "contract", env)).toContain("would break a version that is running (step 2");
  expect((await fetch(`${old.url}/ready`)).status).toBe(200);
  expect(await columnsOf(env)).toContain("email");
});

shopTest("contracts as soon as the version before has left", async () => {
  const env = await migratedTo(3);
  const old = await stand.open(2, env);
  await fetch(`${old.url}/ready`);
  const contract = stand.migrate(3, "contract", env);
  expect(await old.stop()).toBe(0);
  expect(await contract).toContain("3-contract: done");
});

shopTest("refuses to expand beside a version that is too old", async () => {
  const env = await migratedTo(2);
  const old = await stand.open(1, env);
  await fetch(`${old.url}/ready`);
  expect(await refusal(3, "expand", env)).toContain("3-expand would break a version that is running (step 1");
});

shopTest("refuses to contract what was not expanded, or would lose an address", async () => {
  const env = await migratedTo(2);
  expect(await refusal(3, "contract", env)).toContain("3-expand has not run yet");
  await stand.migrate(3, "expand", env);
  await sql(env, "INSERT INTO users (email) VALUES ('lost@example.com')");
  expect(await refusal(3, "contract", env)).toContain("1 users have no contact_email");
  const old = await stand.open(2, env);
  expect((await fetch(`${old.url}/ready`)).status).toBe(200);
});

shopTest("keeps a version that is too old from a database it can't work with", async () => {
  const env = await migratedTo(3);
  await stand.migrate(3, "contract", env);
  for (const step of [1, 2] as const) {
    expect(await refusal(step, "expand", env)).toContain(`step ${step} can't work after it`);
    const old = await stand.open(step, env);
    expect((await fetch(`${old.url}/ready`)).status).toBe(503);
  }
});
