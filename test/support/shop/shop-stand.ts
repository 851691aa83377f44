import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { hasPostgres, type Postgres, startPostgres } from "../services/postgres.ts";
import { hasRedis, type Redis, startRedis } from "../services/redis.ts";
import {
  type Phase,
  type RunningMigration,
  type Shop,
  type Step,
  shopDirectory,
  startMigration,
  startShop,
} from "./shop.ts";

const run = promisify(execFile);

/** For tests that need PostgreSQL and Redis. */
export const shopTest = test.skipIf(!hasPostgres || !hasRedis);

export type ShopEnv = Record<string, string>;

/** PostgreSQL, Redis and bundled shops for the tests of one file. */
export class ShopStand {
  #postgres: Postgres | undefined;
  #redis: Redis | undefined;
  #gateway: string | undefined;
  #root = "";
  #databases = 0;
  readonly #directories = new Map<Step, string>();
  readonly #running: Shop[] = [];

  get postgres(): Postgres {
    if (!this.#postgres) throw new Error("no PostgreSQL: use shopTest");
    return this.#postgres;
  }

  get redis(): Redis {
    if (!this.#redis) throw new Error("no Redis: use shopTest");
    return this.#redis;
  }

  /** Holds a bundle per step: the process runtime runs `file:step-<n>` under it. */
  get root(): string {
    return this.#root;
  }

  async set(steps: Step[]): Promise<void> {
    if (!hasPostgres || !hasRedis) return;
    this.#root = await mkdtemp(path.join(tmpdir(), "sluice-shops-"));
    this.#gateway = await bridgeAddress();
    [this.#postgres, this.#redis] = await Promise.all([
      startPostgres(this.#gateway),
      startRedis(this.#gateway),
    ]);
    for (const step of steps) this.#directories.set(step, await shopDirectory(this.#root, step));
  }

  async clear(): Promise<void> {
    await Promise.all([this.#postgres?.close(), this.#redis?.close()]);
    if (this.#root) await rm(this.#root, { recursive: true, force: true });
  }

  async stopShops(): Promise<void> {
    await Promise.all(this.#running.splice(0).map((shop) => shop.stop()));
  }

  /** Variables of a shop with an empty database of its own. */
  async newEnv(): Promise<ShopEnv> {
    const url = await this.postgres.database(`shop_${++this.#databases}`);
    return { DATABASE_URL: url, REDIS_URL: this.redis.url };
  }

  /** The same variables for a shop in a container. */
  inContainer(env: ShopEnv): ShopEnv {
    const gateway = this.#gateway;
    if (!gateway) throw new Error("no interface docker0: containers can't reach PostgreSQL on this machine");
    const entries = Object.entries(env).map(([name, value]) => [name, value.replace("127.0.0.1", gateway)]);
    return Object.fromEntries(entries);
  }

  migration(step: Step, phase: Phase, env: ShopEnv): RunningMigration {
    return startMigration(this.#directory(step), phase, env);
  }

  /** Runs a hook that has to succeed; its output. */
  async migrate(step: Step, phase: Phase, env: ShopEnv): Promise<string> {
    const { code, output } = await this.migration(step, phase, env).ended;
    expect(code, output).toBe(0);
    return output;
  }

  /** A shop that runs until the test ends. */
  async open(step: Step, env: ShopEnv): Promise<Shop> {
    const shop = await startShop(this.#directory(step), { SLUICE_VERSION: `v${step}`, ...env });
    this.#running.push(shop);
    return shop;
  }

  #directory(step: Step): string {
    const directory = this.#directories.get(step);
    if (!directory) throw new Error(`step ${step} is not bundled: name it in useShops`);
    return directory;
  }
}

/** Sets a stand up for the file that calls it, and clears it away after. */
export function useShops(steps: Step[]): ShopStand {
  const stand = new ShopStand();
  beforeAll(() => stand.set(steps), 60_000);
  afterEach(() => stand.stopShops());
  afterAll(() => stand.clear());
  return stand;
}

/** Where containers of the default network find this machine. Node lists no interface that has nobody on it yet. */
async function bridgeAddress(): Promise<string | undefined> {
  try {
    const { stdout } = await run("ip", ["-4", "-o", "addr", "show", "docker0"], { timeout: 5_000 });
    return /inet ([\d.]+)/.exec(stdout)?.[1];
  } catch {
    // No such interface, or no such program: then no container needs it either.
    return undefined;
  }
}
