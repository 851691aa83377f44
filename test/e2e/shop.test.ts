import { afterAll, afterEach, expect, vi } from "vitest";
import { removeImages } from "../../local/images.ts";
import { engine, theEngine } from "../support/engine/docker.ts";
import { runSql } from "../support/services/postgres.ts";
import { type Step, shopImage } from "../support/shop/shop.ts";
import { ShopInstallation, type ShopOptions } from "../support/shop/shop-installation.ts";
import { type ShopEnv, shopTest, useShops } from "../support/shop/shop-stand.ts";
import { type Crowd, startCrowd } from "../support/shop/shop-visitors.ts";

/** The three versions of examples/shop, each with its migration, released by Sluice while visitors shop. */
const VISITORS = 6;
const KEEP_MS = 8_000;
const STEPS: Step[] = [1, 2, 3];
const CANARY = {
  canary: { steps: [{ weight: 50, bake: "3s" }, { weight: 100 }], analysis: { errorRateMax: "1%" } },
};
const ROLLING = { rolling: { maxSurge: 1, maxUnavailable: 0 } };
const BLUE_GREEN = "blue-green";
const TAG = (step: Step) => `sluice-e2e-shop-${process.pid}:step-${step}`;

const stand = useShops(STEPS);
const containerTest = engine ? shopTest : shopTest.skip;
let shop: ShopInstallation | undefined;
let crowd: Crowd | undefined;
afterEach(async () => {
  // A test that failed in the middle left them shopping.
  await crowd?.stop();
  await shop?.close();
});
afterAll(
  () => engine && removeImages(engine, [...STEPS.map(TAG), ...STEPS.map((n) => `sluice-shop:step-${n}`)]),
);

const sql = (env: ShopEnv, statement: string) => runSql(env.DATABASE_URL ?? "", statement);
const column = async (env: ShopEnv, name: string, table: string) =>
  (await sql(env, `SELECT ${name} FROM ${table}`)).map((row) => row[name]).sort();

async function open(options: Omit<ShopOptions, "processRoot" | "image"> & Partial<ShopOptions>) {
  shop = await ShopInstallation.start({
    processRoot: stand.root,
    image: (step) => `file:step-${step}`,
    ...options,
  });
  return shop;
}

/** Notes each run of `migrate`, whether or not it finds anything to do: all of them begin with this statement. */
async function newCountedEnv(): Promise<ShopEnv> {
  const env = await stand.newEnv();
  await sql(
    env,
    `CREATE TABLE hook_runs (at timestamptz NOT NULL DEFAULT clock_timestamp());
    CREATE FUNCTION note_hook() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
      IF current_query() LIKE '%IF NOT EXISTS migrations%' THEN INSERT INTO hook_runs DEFAULT VALUES; END IF;
    END $$;
    CREATE EVENT TRIGGER note_hook ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION note_hook()`,
  );
  return env;
}

/** Nobody was turned away or forgotten, and all that was confirmed is there. */
async function expectContent(
  visitors: Crowd,
  env: ShopEnv,
  address: "email" | "contact_email",
): Promise<void> {
  const { requests, failures, orders, emails } = await visitors.stop();
  expect(failures).toEqual([]);
  expect(requests).toBeGreaterThan(300);
  expect(await column(env, "id", "orders")).toEqual(orders.sort());
  expect(await column(env, address, "users")).toEqual([...emails].sort());
}

/** v1, v2 and v3 one after the other, until nothing older than v3 could come back. */
async function renameColumn(sluice: ShopInstallation, env: ShopEnv, strategies: unknown[]): Promise<void> {
  const [first, second, third] = strategies;
  await sluice.deploy(1, first);
  crowd = await startCrowd(VISITORS, () => [sluice.url]);
  await crowd.round();
  const [, v3] = await Promise.all([
    sluice.deploy(2, second),
    // Queued, it begins while v1 is still kept warm: its expand hook has to wait until the last of those has gone.
    sluice.reaches(2, ["shifting", "settling"]).then(() => sluice.deploy(3, third)),
  ]);
  expect(await column(env, "id", "migrations")).not.toContain("3-contract");
  await crowd.round();
  const isContracted = async () =>
    expect((await sluice.client.releases.get(v3.id)).timings).toHaveProperty("contract");
  await vi.waitFor(isContracted, { timeout: 90_000, interval: 200 });
  await crowd.round();
  await expectRefusedRollback(sluice);
  await crowd.round();
  await expectContent(crowd, env, "contact_email");
  await expectHooksOnce(sluice, env);
  const [contract] = await sql(env, "SELECT max(at) AS at FROM hook_runs");
  expect(Number(contract?.at) - Date.parse(v3.servingAt ?? "")).toBeGreaterThanOrEqual(KEEP_MS);
}

async function expectRefusedRollback(sluice: ShopInstallation): Promise<void> {
  const { code, stderr } = await sluice.sluice(["rollback"]);
  expect(code).toBe(2);
  expect(stderr).toContain("the contract migration of v3 was run, v2 can't run on its data any more");
  expect(await sluice.split()).toEqual({ v3: 100 });
}

async function expectHooksOnce(sluice: ShopInstallation, env: ShopEnv): Promise<void> {
  const ordered = await sluice.hooks();
  // The contract hook of v1 has nothing to do; whether v2 comes before its window closes is a matter of milliseconds.
  const certain = ordered.filter((hook, index) => hook !== "v1 contract" || ordered.indexOf(hook) !== index);
  expect(certain).toEqual(["v1 expand", "v2 expand", "v3 expand", "v3 contract"]);
  expect(await sql(env, "SELECT at FROM hook_runs")).toHaveLength(ordered.length);
  const finished = await sql(
    env,
    "SELECT id, version FROM migrations WHERE finished_at IS NOT NULL ORDER BY id",
  );
  expect(finished.map(({ id, version }) => `${id} by ${version}`)).toEqual([
    "1-expand by v1",
    "2-expand by v2",
    "3-contract by v3",
    "3-expand by v3",
  ]);
}

shopTest(
  "a column is renamed over three releases, canary and rolling: nobody notices, no row is lost",
  async () => {
    const env = await newCountedEnv();
    const sluice = await open({ runtime: "process", env, keep: `${KEEP_MS}ms` });
    const v2 = async () =>
      (await sluice.client.releases.list("shop", "production")).items.find((r) => r.version === "v2");
    await renameColumn(sluice, env, [CANARY, CANARY, ROLLING]);
    const { items } = await sluice.client.releases.verdicts((await v2())?.id ?? "");
    expect(items[0]).toMatchObject({ verdict: "pass" });
  },
);

containerTest("a column is renamed over three releases in containers, blue-green and rolling", async () => {
  const env = await newCountedEnv();
  for (const step of STEPS) await shopImage(theEngine(), { tag: TAG(step), step });
  const options = { runtime: "docker", env: stand.inContainer(env), image: TAG } as const;
  const sluice = await open({ ...options, keep: `${KEEP_MS}ms` });
  await renameColumn(sluice, env, [BLUE_GREEN, ROLLING, BLUE_GREEN]);
});

shopTest(
  "a release whose migration is refused never starts, and one within its window can be taken back",
  async () => {
    const env = { ...(await newCountedEnv()), MIGRATE_WAIT_MS: "300" };
    const sluice = await open({ runtime: "process", env, keep: "1h" });
    await sluice.deploy(1, BLUE_GREEN);
    crowd = await startCrowd(VISITORS, () => [sluice.url]);
    const refused = await sluice.tryDeploy(3, BLUE_GREEN);
    expect(refused.code).toBe(3);
    expect(refused.stderr).toContain("refused: 3-expand would break a version that is running (step 1");
    expect(await sluice.split()).toEqual({ v1: 100 });
    await crowd.round();

    await sluice.deploy(2, BLUE_GREEN);
    await crowd.round();
    expect(await sluice.sluice(["rollback"])).toMatchObject({ code: 0 });
    expect(await sluice.split()).toEqual({ v1: 100 });
    await crowd.round();
    await expectContent(crowd, env, "email");
    expect(await sluice.hooks()).toEqual(["v1 expand", "v3 expand", "v2 expand"]);
  },
);
