import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { access, constants, mkdir, readdir, readFile, rm } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { z } from "zod";
import { writeFileAtomically } from "../atomic-file.ts";
import { done, failed, type Outcome, words } from "../outcome.ts";
import { rotate, tailFile } from "../runtime/process/log.ts";
import { birthOf } from "../runtime/process/record.ts";
import { type Connector, type Connectors, freePort, hashOf, RETIRE_WITHIN_MS } from "./connectors.ts";
import { type Launcher, ownProcess, ownUnit } from "./launcher.ts";

const recordSchema = z.object({
  id: z.string(),
  port: z.number().int(),
  tokenHash: z.string(),
  startedAt: z.number(),
  /** 0: it was being started when this was written. */
  pid: z.number().int(),
  /** Start time as the system tells it: a recycled pid has another. */
  birth: z.string(),
  runsAs: z.enum(["agent", "unit"]).default("agent"),
  /** Epoch ms: told to end, and by when it must have. */
  retireBy: z.number().optional(),
  /** The signal was sent: a second one would end it at once, in the middle of requests. */
  told: z.boolean().default(false),
});
type Kept = z.infer<typeof recordSchema>;

const LOG_LIMITS = { maxSizeBytes: 2_000_000, maxFiles: 2 };
const LINES = 200;

/** The program's path: the one named, else the first on PATH. */
export async function findCloudflared(named?: string): Promise<string | undefined> {
  const places = named
    ? [named]
    : (process.env.PATH ?? "").split(path.delimiter).map((folder) => path.join(folder, "cloudflared"));
  for (const place of places) {
    if (
      await access(place, constants.X_OK).then(
        () => true,
        () => false, // not there
      )
    )
      return place;
  }
  return undefined;
}

/** Before it, cloudflared knows no TUNNEL_TOKEN_FILE, and would ask for a token. */
const OLDEST = [2025, 4, 0];

/** Why a program can't be used; one whose words can't be read is taken for a build of somebody's own. */
export async function tooOld(program: string): Promise<string | undefined> {
  const { stdout } = await promisify(execFile)(program, ["--version"], { timeout: 5_000 }).catch(() => ({
    stdout: "", // it does not say
  }));
  const [, text = ""] = /version (\d+\.\d+\.\d+)/.exec(stdout) ?? [];
  const found = text.split(".").map(Number);
  const differs = OLDEST.findIndex((part, n) => part !== found[n]);
  if (text === "" || differs < 0 || (found[differs] ?? 0) > (OLDEST[differs] ?? 0)) return undefined;
  return `${program} is cloudflared ${text}, and ${OLDEST.join(".")} or newer is needed: upgrade it`;
}

/** cloudflared as processes of this host. */
export class ProcessConnectors implements Connectors {
  readonly kind = "process";
  readonly #launcher: Launcher;
  readonly #directory: string;

  constructor(options: { launcher: Launcher; directory: string }) {
    this.#launcher = options.launcher;
    this.#directory = path.join(options.directory, "cloudflared");
  }

  async start(token: string): Promise<Outcome<void>> {
    try {
      await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      const id = randomUUID();
      const port = await freePort();
      const { runsAs } = this.#launcher;
      const record = { id, port, runsAs, tokenHash: hashOf(token), startedAt: Date.now() };
      const unborn = { ...record, pid: 0, birth: "", told: false };
      const [tokenFile, log] = [this.#file(id, "token"), this.#file(id, "log")];
      await writeFileAtomically(tokenFile, token);
      // Before it runs, so that an agent that dies in between leaves none behind that nobody knows of.
      await this.#write(unborn);
      const pid = await this.#launcher.launch({ id, port, token: tokenFile, log });
      await this.#write({ ...unborn, pid, birth: (await birthOf(pid)) ?? "ended" });
      return done(undefined);
    } catch (thrown) {
      return failed("start_failed", `cloudflared can't be started: ${words(thrown)}`);
    }
  }

  async list(): Promise<Outcome<Connector[]>> {
    const names = await readdir(this.#directory).catch(() => []); // none started so far
    const ids = names.filter((name) => name.endsWith(".json")).map((name) => name.slice(0, -5));
    const found = await Promise.all(ids.map((id) => this.#look(id)));
    return done(found.filter((connector) => connector !== undefined));
  }

  async retire({ id }: Connector): Promise<void> {
    const record = await this.#read(id);
    if (!record || record.retireBy !== undefined) return;
    const retiring = { ...record, retireBy: Date.now() + RETIRE_WITHIN_MS };
    await this.#write(retiring);
    if (await isRunning(record)) await this.#tell(retiring);
  }

  async discard({ id }: Connector): Promise<void> {
    for (const name of await readdir(this.#directory))
      if (name.startsWith(`${id}.`)) await rm(path.join(this.#directory, name), { force: true });
  }

  lines({ id }: Connector): Promise<string[]> {
    return tailFile(this.#file(id, "log"), LINES);
  }

  /** A record as a connector; what went wrong before or behind it is put right first. */
  async #look(id: string): Promise<Connector | undefined> {
    let record = await this.#read(id);
    if (!record) return undefined;
    if (record.pid === 0) {
      const pid = await pidListeningAs(record.port);
      record = { ...record, pid: pid ?? -1, birth: (pid && (await birthOf(pid))) || "ended" };
      await this.#write(record);
    }
    const running = await isRunning(record);
    if (running && record.retireBy !== undefined && !record.told) await this.#tell(record);
    if (running && record.retireBy !== undefined && Date.now() > record.retireBy)
      await this.#launcherOf(record).kill(id, record.pid);
    if (running) await rotate(this.#file(id, "log"), LOG_LIMITS);
    // One of before, with all that this agent may: another is to be started in its place, as for a new token.
    const tokenHash =
      record.runsAs === this.#launcher.runsAs ? record.tokenHash : `${record.tokenHash} as ${record.runsAs}`;
    return { ...record, tokenHash, running, retiring: record.retireBy !== undefined };
  }

  async #tell(record: Kept): Promise<void> {
    await this.#launcherOf(record).end(record.id, record.pid);
    await this.#write({ ...record, told: true });
  }

  /** Whoever started it ends it. */
  #launcherOf({ runsAs }: Kept): Launcher {
    return runsAs === this.#launcher.runsAs ? this.#launcher : OTHERS[runsAs]();
  }

  #file(id: string, ending: string): string {
    return path.join(this.#directory, `${id}.${ending}`);
  }

  #read(id: string): Promise<Kept | undefined> {
    return readRecord(this.#file(id, "json"));
  }

  #write(record: Kept): Promise<void> {
    return writeFileAtomically(this.#file(record.id, "json"), JSON.stringify(record));
  }
}

const OTHERS = { agent: () => ownProcess("cloudflared"), unit: () => ownUnit() };

/** The pid alone does not say so: it may be another's by now. */
const isRunning = async ({ pid, birth }: Kept) => (await birthOf(pid)) === birth;

async function readRecord(file: string): Promise<Kept | undefined> {
  try {
    return recordSchema.parse(JSON.parse(await readFile(file, "utf8")));
  } catch {
    return undefined; // removed meanwhile, or of another age: it can't be told to be ours
  }
}

/** The cloudflared with this metrics port among its arguments: how one is found whose pid was never written down. */
async function pidListeningAs(port: number): Promise<number | undefined> {
  const pids = (await readdir("/proc").catch(() => [])).filter((name) => /^\d+$/.test(name)); // Linux only
  for (const pid of pids) {
    const args = (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).split("\0"); // ended meanwhile
    if (args.includes("tunnel") && args.includes(`127.0.0.1:${port}`)) return Number(pid);
  }
  return undefined;
}
