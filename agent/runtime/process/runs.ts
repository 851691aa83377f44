import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { mkdir, readFile, rm, stat } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { aborted } from "../../aborted.ts";
import { writeFileAtomically } from "../../atomic-file.ts";
import { systemClock } from "../../clock.ts";
import { done, failed, type Outcome, words } from "../../outcome.ts";
import {
  type Exit,
  isPlainId,
  type RunSpec,
  type RunState,
  type Runs,
  runEnv,
  type Started,
  type Stopped,
  signalOf,
} from "../runtime.ts";
import { asOutcome, exitOf, hostEnv, signalGroup } from "./group.ts";
import { unsupported } from "./housing.ts";
import { resolveDirectory } from "./image.ts";
import { boundLog, tailFile } from "./log.ts";
import { birthOf } from "./record.ts";

const LOOK_MS = 250;
const KILLED_WITHIN_MS = 5_000;
const LOGGING = { maxSizeBytes: 10_000_000, maxFiles: 3 };

/**
 * Runs the command and writes down its exit code: an agent that was killed is not there to be told it by the system, and
 * the next one is not the parent. Signals are for the command; the shell lives on to see it end. One that comes before the
 * command was begun keeps it from beginning: nothing else would tell it, and it would be waited for until it is killed.
 */
const KEEPER = `code=; trap 'code=143' HUP INT TERM; [ "$code" ] || { "$@"; code=$?; }; printf %s "$code" > "$0.tmp" && mv "$0.tmp" "$0"; exit "$code"`;

const recordSchema = z.object({ pid: z.number().int(), birth: z.string() });
type RunRecord = z.infer<typeof recordSchema>;

/** Hooks as process groups, each with a folder that holds its log and, in the end, its exit code. */
export function createProcessRuns(options: { root: string; directory: string }): Runs {
  const runs = new ProcessRuns(options.root, options.directory);
  return {
    find: (run) => asOutcome(() => runs.find(run)),
    start: (spec) => asOutcome(() => runs.start(spec)),
    waitExit: (run, signal) => runs.waitExit(run, signal),
    stop: (run, graceMs) => asOutcome(() => runs.stop(run, graceMs)),
    logs: (run, lines) => tailFile(runs.file(run, "out.log"), lines),
    remove: (run) => asOutcome(() => runs.remove(run)),
  };
}

class ProcessRuns {
  readonly #root: string;
  readonly #directory: string;
  readonly #exits = new Map<string, Promise<Exit>>();

  constructor(root: string, directory: string) {
    this.#root = root;
    this.#directory = directory;
  }

  file(run: string, name: "out.log" | "exit" | "record.json"): string {
    return path.join(this.#directory, run, name);
  }

  async find(run: string): Promise<Outcome<RunState>> {
    if (!isPlainId(run)) return done("none");
    const there = await stat(path.join(this.#directory, run)).catch(() => undefined); // the common case: never seen
    if (!there) return done("none");
    return done((await this.#record(run)) ? "begun" : "unstarted");
  }

  async start(spec: RunSpec): Promise<Outcome<Started>> {
    if (!isPlainId(spec.run)) return failed("start_failed", `${spec.run} can't be a folder's name`);
    const refused = unsupported(spec);
    if (refused) return refused;
    const cwd = await resolveDirectory(this.#root, spec.image);
    if (!cwd.ok) return cwd;
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    try {
      // The folder is the promise: it is made once.
      await mkdir(path.join(this.#directory, spec.run), { mode: 0o700 });
    } catch (thrown) {
      return failed("start_failed", `run ${spec.run} was begun on this host before: ${words(thrown)}`);
    }
    return this.#spawn(spec, cwd.value);
  }

  async #spawn(spec: RunSpec, cwd: string): Promise<Outcome<Started>> {
    const log = openSync(this.file(spec.run, "out.log"), "a", 0o600);
    const child = spawn("/bin/sh", ["-c", KEEPER, this.file(spec.run, "exit"), ...spec.command], {
      cwd,
      env: { ...hostEnv(), ...runEnv(spec) },
      detached: true,
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    try {
      await once(child, "spawn");
    } catch (thrown) {
      return failed("start_failed", `/bin/sh can't be run in ${cwd}: ${words(thrown)}`);
    }
    return this.#remember(spec.run, child);
  }

  async #remember(run: string, child: ChildProcess): Promise<Outcome<Started>> {
    const { pid } = child;
    if (pid === undefined) throw new Error("a spawned process has no pid");
    const unbound = boundLog(this.file(run, "out.log"), LOGGING);
    this.#exits.set(run, exitOf(child).finally(unbound));
    child.unref();
    const startedAt = Date.now();
    const record: RunRecord = { pid, birth: (await birthOf(pid)) ?? "gone" };
    await writeFileAtomically(this.file(run, "record.json"), JSON.stringify(record));
    return done({ runtimeId: String(pid), startedAt });
  }

  async waitExit(run: string, signal: AbortSignal): Promise<Exit | undefined> {
    const own = this.#exits.get(run);
    if (own) return Promise.race([own.then(named), aborted(signal)]);
    while (!signal.aborted) {
      const record = await this.#record(run);
      const isAlive = record && (await birthOf(record.pid)) === record.birth;
      // Written before the process ends, hence read after it was seen to have ended.
      const exitCode = isAlive ? undefined : await this.#exitCode(run);
      if (exitCode !== undefined) return named({ exitCode });
      if (!record) return { gone: true };
      if (!isAlive) return {};
      await systemClock.sleep(LOOK_MS, signal);
    }
    return undefined;
  }

  async stop(run: string, graceMs: number): Promise<Outcome<Stopped>> {
    const record = await this.#record(run);
    if (!record || (await birthOf(record.pid)) !== record.birth) return done({ killed: false });
    signalGroup(record.pid, "SIGTERM");
    const inTime = await this.waitExit(run, AbortSignal.timeout(graceMs));
    // Whatever the command left behind in its group would go on with its work.
    signalGroup(record.pid, "SIGKILL");
    if (!inTime) await this.waitExit(run, AbortSignal.timeout(KILLED_WITHIN_MS));
    return done({ runtimeId: String(record.pid), killed: inTime === undefined });
  }

  async remove(run: string): Promise<Outcome<void>> {
    if (!isPlainId(run)) return done(undefined);
    await rm(path.join(this.#directory, run), { recursive: true, force: true });
    this.#exits.delete(run);
    return done(undefined);
  }

  async #exitCode(run: string): Promise<number | undefined> {
    const text = await readFile(this.file(run, "exit"), "utf8").catch(() => undefined); // not ended by itself
    return text === undefined || text === "" ? undefined : Number(text);
  }

  async #record(run: string): Promise<RunRecord | undefined> {
    if (!isPlainId(run)) return undefined;
    const text = await readFile(this.file(run, "record.json"), "utf8").catch(() => undefined); // never begun here
    return text === undefined ? undefined : parseRecord(text);
  }
}

function parseRecord(text: string): RunRecord | undefined {
  try {
    return recordSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined; // not JSON: as unreadable as another shape
  }
}

/** The shell says a signal's death as a code. */
function named(exit: Exit): Exit {
  const signal = exit.signal ?? (exit.exitCode === undefined ? undefined : signalOf(exit.exitCode));
  return { ...exit, ...(signal && { signal }) };
}
