import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
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
  /** What is piped in; nothing by default. Only for a process of its own. */
  readonly stdin?: string | Uint8Array | undefined;
}
export interface Running {
  readonly child: ChildProcess;
  readonly done: Promise<Ran>;
  /** Resolves when stderr has said so; fails when the process ended without it. */
  said(text: string): Promise<void>;
}

/** Starts the real CLI as its own process, without a terminal, in a working directory of its own. */
export async function startCli(args: readonly string[], options: RunOptions = {}): Promise<Running> {
  const cwd = await mkdtemp(join(tmpdir(), "sluice-cli-"));
  await writeFiles(cwd, options.files ?? {});
  const child = spawn(NODE, [MAIN, ...args], { cwd, env: environment(cwd, options) });
  child.stdin.on("error", () => {}); // Most commands end without having read it.
  child.stdin.end(options.stdin);
  let stdout = "";
  let stderr = "";
  const waiting: { text: string; resolve: () => void }[] = [];
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
    for (const waiter of waiting) if (stderr.includes(waiter.text)) waiter.resolve();
  });
  const done = new Promise<Ran>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", async (code) => {
      await rm(cwd, { recursive: true, force: true });
      resolve({ code, stdout, stderr });
    });
  });
  const said = (text: string) =>
    new Promise<void>((resolve, reject) => {
      if (stderr.includes(text)) return resolve();
      waiting.push({ text, resolve });
      void done.then(({ code }) => reject(new Error(`ended with ${code}, never said ${text}: ${stderr}`)));
    });
  return { child, done, said };
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
  /** Called with all that stderr has said so far, each time that it says more: `interrupt` is what Ctrl-C does. */
  readonly onStderr?: (said: string, interrupt: () => void) => void;
}

/** The same command line in this process: milliseconds instead of a process's start. Never a terminal. */
export async function callCli(args: readonly string[], options: CallOptions = {}): Promise<Ran> {
  const cwd = options.cwd ?? (await mkdtemp(join(tmpdir(), "sluice-cli-")));
  await writeFiles(cwd, options.files ?? {});
  const control = new AbortController();
  const interrupt = () => control.abort(new Interrupted());
  let [stdout, stderr] = ["", ""];
  const terminal: Terminal = {
    stdout: {
      isTTY: false,
      write: (text) => {
        stdout += text;
      },
    },
    stderr: {
      isTTY: false,
      columns: 80,
      write: (text) => {
        stderr += text;
        options.onStderr?.(stderr, interrupt);
      },
    },
    env: environment(cwd, options),
  };
  try {
    const code = await main({ argv: args, terminal, cwd, signal: control.signal });
    return { code, stdout, stderr };
  } finally {
    if (options.cwd === undefined) await rm(cwd, { recursive: true, force: true });
  }
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
