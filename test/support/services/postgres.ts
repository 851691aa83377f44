import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { appendFile, chown, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { freePort } from "../engine/docker.ts";
import { Daemon } from "./daemon.ts";
import { isInstalled } from "./installed.ts";

const run = promisify(execFile);
const PROGRAMS = newestPrograms();

export const hasPostgres = isInstalled("postgresql", path.join(PROGRAMS, "postgres"));

export interface Postgres {
  /** Makes an empty database and answers its URL. */
  database(name: string): Promise<string>;
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Stops it and removes its data. */
  close(): Promise<void>;
}

/**
 * Starts a PostgreSQL of our own: a free loopback port, a temporary directory, no password. `gateway` is an address of this
 * machine at which containers reach it too.
 */
export async function startPostgres(gateway?: string): Promise<Postgres> {
  const directory = await mkdtemp(path.join(tmpdir(), "sluice-postgres-"));
  // PostgreSQL refuses to run as root.
  const user = process.getuid?.() === 0 ? await idsOf("postgres") : undefined;
  if (user) await chown(directory, user.uid, user.gid);
  const data = path.join(directory, "data");
  const init = ["-D", data, "-U", "shop", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"];
  await run(path.join(PROGRAMS, "initdb"), init, { timeout: 60_000, cwd: "/", ...user });
  if (gateway) await appendFile(path.join(data, "pg_hba.conf"), `host all all ${gateway}/16 trust\n`);
  const port = await freePort();
  const addresses = ["127.0.0.1", ...(gateway ? [gateway] : [])].join(",");
  const url = (name: string) => `postgresql://shop@127.0.0.1:${port}/${name}`;
  const daemon = new Daemon({
    command: path.join(PROGRAMS, "postgres"),
    // What a test loses in a power cut is no loss.
    args: ["-D", data, "-h", addresses, "-p", String(port), "-k", directory, "-c", "fsync=off"],
    ...(user && { user }),
    stopSignal: "SIGINT",
    probe: () => runSql(url("postgres"), "SELECT 1").then(() => {}),
  });
  await daemon.start();
  return {
    async database(name) {
      await runSql(url("postgres"), `CREATE DATABASE ${name}`);
      return url(name);
    },
    start: () => daemon.start(),
    stop: () => daemon.stop(),
    async close() {
      await daemon.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Runs one statement on a connection of its own. */
export async function runSql(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  // A server that is stopped between two statements is what some tests are about.
  client.on("error", () => {});
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

/** Debian keeps each major version in a directory of its own, none of them on the PATH. */
function newestPrograms(): string {
  const base = "/usr/lib/postgresql";
  let versions: string[] = [];
  try {
    versions = readdirSync(base).sort((a, b) => Number(a) - Number(b));
  } catch {
    // Not installed: `hasPostgres` says so.
  }
  return path.join(base, versions.at(-1) ?? "15", "bin");
}

async function idsOf(name: string): Promise<{ uid: number; gid: number }> {
  const line = (await readFile("/etc/passwd", "utf8"))
    .split("\n")
    .find((text) => text.startsWith(`${name}:`));
  const [, , uid, gid] = line?.split(":") ?? [];
  if (!uid || !gid) throw new Error(`no user ${name} in /etc/passwd: apt-get install postgresql makes it`);
  return { uid: Number(uid), gid: Number(gid) };
}
