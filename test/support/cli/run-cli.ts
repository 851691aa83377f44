import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import type { Terminal } from "../../../cli/io/output.ts";
import { Interrupted } from "../../../cli/io/problem.ts";
import { main } from "../../../cli/main.ts";

const ROOT = new URL("../../../", import.meta.url).pathname;
export const NODE = join(ROOT, "node_modules/.bin/node");
/** Halves the start of each process. */
export const COMPILE_CACHE = join(ROOT, "node_modules/.cache/sluice-cli");
/** Variable that names the bundle of the command line; without it the sources are run. */
export const BUNDLED_CLI = "SLUICE_BUNDLED_CLI";
export const MAIN = process.env[BUNDLED_CLI] ?? join(ROOT, "cli/main.ts");

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}
export interface RunOptions {
  /** Files of the working directory, by name. */
  readonly files?: Readonly<Record<string, string>>;
  readonly url?: string | undefined;
  readonly env?: Readonly<Record<string, string>>;
  /** What is piped in; nothing by default. */
  readonly stdin?: string | Uint8Array | undefined;
}
export interface Begun {
  readonly done: Promise<Ran>;
  /** Resolves when stderr has said so; fails when the command ended without it. */
  said(text: string): Promise<void>;
  /** Ctrl-C. */
  interrupt(): void;
}
export interface Running extends Begun {
  readonly child: ChildProcess;
}

/** What a command writes, and who waits for which of its words. */
class Written {
  stdout = "";
  stderr = "";
  readonly #waiting: { text: string; resolve: () => void }[] = [];

  tell(text: string): void {
    this.stderr += text;
    for (const waiter of this.#waiting) if (this.stderr.includes(waiter.text)) waiter.resolve();
  }

  said(text: string, done: Promise<Ran>): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.stderr.includes(text)) return resolve();
      this.#waiting.push({ text, resolve });
      void done.then(({ code }) =>
        reject(new Error(`ended with ${code}, never said ${text}: ${this.stderr}`)),
      );
    });
  }
}

/** Starts the real CLI as its own process, without a terminal, in a working directory of its own. */
export async function startCli(args: readonly string[], options: RunOptions = {}): Promise<Running> {
  const cwd = await mkdtemp(join(tmpdir(), "sluice-cli-"));
  await writeFiles(cwd, options.files ?? {});
  const child = spawn(NODE, [MAIN, ...args], { cwd, env: environment(cwd, options) });
  child.stdin.on("error", () => {}); // Most commands end without having read it.
  child.stdin.end(options.stdin);
  const written = new Written();
  child.stdout.on("data", (chunk) => {
    written.stdout += chunk;
  });
  child.stderr.on("data", (chunk) => written.tell(String(chunk)));
  const done = new Promise<Ran>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", async (code) => {
      await rm(cwd, { recursive: true, force: true });
      resolve({ code, stdout: written.stdout, stderr: written.stderr });
    });
  });
  return {
    child,
    done,
    said: (text) => written.said(text, done),
    interrupt: () => void child.kill("SIGINT"),
  };
}

async function writeFiles(cwd: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(cwd, name)), { recursive: true });
    await writeFile(join(cwd, name), text, { mode: name.startsWith(".sluice/") ? 0o600 : 0o644 });
  }
}

export async function runCli(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  return (await startCli(args, options)).done;
}

export interface CallOptions extends RunOptions {
  /** A working directory that is there already, and stays. */
  readonly cwd?: string;
}

/** The same command line in this process: milliseconds instead of a process's start. Never a terminal. */
export async function callCli(args: readonly string[], options: CallOptions = {}): Promise<Ran> {
  return (await beginCall(args, options)).done;
}

/** One that is met while it goes on. */
export async function beginCall(args: readonly string[], options: CallOptions = {}): Promise<Begun> {
  const cwd = options.cwd ?? (await mkdtemp(join(tmpdir(), "sluice-cli-")));
  await writeFiles(cwd, options.files ?? {});
  const interrupt = new AbortController();
  const written = new Written();
  const terminal: Terminal = {
    stdin: Readable.from(options.stdin === undefined ? [] : [Buffer.from(options.stdin)]),
    stdout: {
      isTTY: false,
      write: (text) => {
        written.stdout += text;
      },
    },
    stderr: { isTTY: false, columns: 80, write: (text) => written.tell(text) },
    env: environment(cwd, options),
  };
  const run = async (): Promise<Ran> => {
    try {
      const code = await main({ argv: args, terminal, cwd, signal: interrupt.signal });
      return { code, stdout: written.stdout, stderr: written.stderr };
    } finally {
      if (options.cwd === undefined) await rm(cwd, { recursive: true, force: true });
    }
  };
  const done = run();
  return {
    done,
    said: (text) => written.said(text, done),
    interrupt: () => interrupt.abort(new Interrupted()),
  };
}

/** Nothing of the developer's own set-up leaks in: not their control plane, and not that this is CI. */
function environment(cwd: string, { url, env }: RunOptions): Record<string, string> {
  return {
    PATH: process.env.PATH ?? "",
    HOME: cwd,
    NODE_COMPILE_CACHE: COMPILE_CACHE,
    GIT_CEILING_DIRECTORIES: tmpdir(),
    ...(url === undefined ? {} : { SLUICE_URL: url, SLUICE_TOKEN: "slu_test" }),
    ...env,
  };
}
