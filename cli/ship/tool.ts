import { type ChildProcess, spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import { Interrupted } from "../io/problem.ts";

/** A command as its words: no shell ever reads it, so that a branch called `$(reboot)` is only a name. */
export type Command = readonly [string, ...string[]];

export interface ToolOptions {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  /** Each line as it comes, cut at {@link LINE_MOST}. */
  readonly onLine?: (line: string) => void;
}

/** How a command ended. `missing`: there is no such program, or none that may be run. */
export interface ToolEnd {
  readonly code: number | null;
  readonly missing: boolean;
  /** Its last lines, of both its outputs. */
  readonly tail: readonly string[];
  /** Its stdout from the beginning, as much as {@link STDOUT_MOST}. */
  readonly stdout: string;
}

const LINE_MOST = 2_000;
const TAIL_LINES = 60;
const STDOUT_MOST = 256 * 1024;
/** After the polite signal, how long until the one that nobody can refuse. */
const KILL_AFTER_MS = 5_000;
/** After its end, for what is on its way from it. */
const LAST_WORDS_MS = 2_000;

/** What is the control plane's, or asks for tokens in this job's name: neither tests nor builds have a use for it. */
const OURS = /^(?:SLUICE_(?:TOKEN|OIDC_TOKEN|URL|OUTPUT_FILE)|ACTIONS_ID_TOKEN_REQUEST_.*)$/;
const toolEnv = (env: ToolOptions["env"]): Record<string, string> =>
  Object.fromEntries(
    Object.entries(env).filter(
      (pair): pair is [string, string] => pair[1] !== undefined && !OURS.test(pair[0]),
    ),
  );

/** Runs a command to its end, in bounded memory however much it prints. Throws {@link Interrupted} when the signal ended it. */
export async function runTool(command: Command, options: ToolOptions): Promise<ToolEnd> {
  const child = begin(command, options);
  const tail: string[] = [];
  let stdout = "";
  const line = into(tail, options);
  child.stdout.on("data", (chunk: Buffer) => {
    if (stdout.length < STDOUT_MOST) stdout += chunk.toString();
  });
  const streams = [intoLines(child.stdout, line), intoLines(child.stderr, line)];
  const unwatch = endWith(child, options.signal);
  const { code, missing } = await ended(child);
  unwatch();
  for (const flush of streams) flush();
  if (options.signal.aborted) throw new Interrupted();
  return { code, missing, tail, stdout: stdout.slice(0, STDOUT_MOST) };
}

/**
 * Runs a command whose stdout is read as it comes, and no faster than it is read. A reader that throws ends the command, and its
 * error is thrown, unless the command had failed first.
 */
export async function pipeTool(
  command: Command,
  options: ToolOptions,
  read: (stdout: Readable) => Promise<void>,
): Promise<Omit<ToolEnd, "stdout">> {
  const child = begin(command, options);
  const tail: string[] = [];
  const flush = intoLines(child.stderr, into(tail, options));
  const stop = new AbortController();
  const unwatch = endWith(child, AbortSignal.any([options.signal, stop.signal]));
  const reading = read(child.stdout).then(
    () => undefined,
    (error: unknown) => {
      // What came to its end is cut short where the command failed by itself: that is the cause then, and this what follows.
      const isOver = child.stdout.readableEnded;
      if (!isOver) stop.abort();
      return { error, isOver };
    },
  );
  const closed = new Promise<{ code: number | null; missing: boolean }>((resolve) => {
    child.once("error", () => resolve({ code: null, missing: true }));
    child.once("close", (code) => resolve({ code, missing: false }));
  });
  const [failed, { code, missing }] = await Promise.all([reading, closed]);
  unwatch();
  flush();
  if (options.signal.aborted) throw new Interrupted();
  if (failed && !missing && (code === 0 || !failed.isOver)) throw failed.error;
  return { code, missing, tail };
}

function begin([program, ...args]: Command, options: ToolOptions) {
  options.signal.throwIfAborted();
  return spawn(program, args, {
    cwd: options.cwd,
    env: toolEnv(options.env),
    stdio: ["ignore", "pipe", "pipe"],
    // A group of its own: a Ctrl-C reaches us alone, and what we end is the whole of it.
    detached: process.platform !== "win32",
  });
}

const into =
  (tail: string[], { onLine }: ToolOptions) =>
  (text: string): void => {
    tail.push(text);
    if (tail.length > TAIL_LINES) tail.shift();
    onLine?.(text);
  };

function ended(child: ChildProcess): Promise<{ code: number | null; missing: boolean }> {
  return new Promise((resolve, reject) => {
    child.once("error", (error: NodeJS.ErrnoException) =>
      error.code === "ENOENT" || error.code === "EACCES"
        ? resolve({ code: null, missing: true })
        : reject(error),
    );
    child.once("close", (code) => resolve({ code, missing: false }));
    // What it started may hold its outputs open for as long as it likes.
    child.once("exit", (code) => {
      setTimeout(() => {
        child.stdout?.destroy();
        child.stderr?.destroy();
        resolve({ code, missing: false });
      }, LAST_WORDS_MS).unref();
    });
  });
}

/** Ends a command and what it started when the signal comes. Answers what takes the watch away. */
function endWith(child: ChildProcess, signal: AbortSignal): () => void {
  let timer: NodeJS.Timeout | undefined;
  const kill = (name: NodeJS.Signals) => {
    // Of its group some may live on after it.
    if (child.pid === undefined) return;
    try {
      process.kill(process.platform === "win32" ? child.pid : -child.pid, name);
    } catch {
      // It has gone by itself.
    }
  };
  const onExit = () => kill("SIGKILL");
  const onAbort = () => {
    kill("SIGTERM");
    timer = setTimeout(onExit, KILL_AFTER_MS);
    // A second Ctrl-C waits for nothing that comes later.
    process.once("exit", onExit);
  };
  signal.addEventListener("abort", onAbort, { once: true });
  return () => {
    signal.removeEventListener("abort", onAbort);
    process.off("exit", onExit);
    clearTimeout(timer);
  };
}

/** Lines of a stream; a carriage return, with which progress is drawn, ends one too. One without end is cut, not kept. */
function intoLines(stream: NodeJS.ReadableStream, onLine: (line: string) => void): () => void {
  const decoder = new StringDecoder("utf8");
  let open = "";
  stream.on("data", (chunk: Buffer) => {
    const parts = (open + decoder.write(chunk)).split(/\r\n|\n|\r/);
    open = (parts.pop() ?? "").slice(0, LINE_MOST);
    for (const part of parts) onLine(part.slice(0, LINE_MOST));
  });
  return () => {
    if (open !== "") onLine(open);
    open = "";
  };
}
