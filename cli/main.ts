import { readFileSync } from "node:fs";
import { CommanderError } from "commander";
import packageFile from "../package.json" with { type: "json" };
import { EXIT, type ExitCode } from "./exit-codes.ts";
import { errorBlock } from "./io/error-block.ts";
import { findManifest } from "./io/manifest-file.ts";
import { type JsonMode, Output, type Terminal } from "./io/output.ts";
import { CliError, exitOf, Interrupted, toProblem } from "./io/problem.ts";
import { useProxies } from "./io/proxy.ts";
import { createProgram, UsageError } from "./program.ts";
import { type Globals, Session } from "./session.ts";

interface MainParts {
  readonly argv: readonly string[];
  readonly terminal: Terminal;
  readonly cwd: string;
  readonly signal: AbortSignal;
}

/** Runs one command line and answers its exit code. Everything that can go wrong ends as one block and one code. */
export async function main({ argv, terminal, cwd, signal }: MainParts): Promise<number> {
  const out = new Output(terminal, jsonMode(argv));
  const { version } = packageFile;
  const words = { own: argv.slice(0, ownWords(argv)), rest: argv.slice(ownWords(argv)) };
  const sessionOf = (globals: Globals) =>
    new Session({ globals, out, terminal, cwd, signal, version, words, now: Date.now });
  let session = sessionOf({});
  let exit: number = EXIT.ok;
  const program = createProgram({
    version: jsonMode(argv) === "off" ? version : JSON.stringify({ schema: 1, version }),
    write: (text) => terminal.stdout.write(text),
    warn: (text) => terminal.stderr.write(text),
    act:
      (run) =>
      async (...args) => {
        session = sessionOf(program.opts<Globals>());
        out.checkFile();
        const outcome = await run(session, ...args);
        out.finish(outcome);
        exit = outcome.exit;
      },
  });
  try {
    await useProxies(terminal.env);
    await program.parseAsync(normalise(argv), { from: "user" });
    return exit;
  } catch (error) {
    return fail(session, signal.aborted && !(error instanceof CliError) ? signal.reason : error);
  }
}

function jsonMode(argv: readonly string[]): JsonMode {
  const own = argv.slice(0, ownWords(argv));
  if (own.includes("--json=stream")) return "stream";
  return own.some((arg) => /^--json(=|$)/.test(arg)) ? "object" : "off";
}

/** How many of the words are ours: behind `--` comes a command that somebody else reads. */
const ownWords = (argv: readonly string[]) => (argv.includes("--") ? argv.indexOf("--") : argv.length);

/** `--json` never swallows the word after it, and `sluice --version` is this CLI's, as everywhere. */
function normalise(argv: readonly string[]): string[] {
  const rest = argv.filter((arg) => !/^--json(=|$)/.test(arg));
  if (rest.length === 1 && rest[0] === "--version") return ["--cli-version"];
  const own = ownWords(argv);
  return argv.map((arg, index) => (arg === "--json" && index < own ? "--json=object" : arg));
}

function fail(session: Session, error: unknown): ExitCode {
  if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok; // Help and version, asked for.
  if (error instanceof CommanderError && error.code === "commander.help") return EXIT.usage;
  const problem = toProblem(error instanceof CommanderError ? usage(error) : error);
  const next = problem.next.map((step) => ({ ...step, command: session.carry(step.command) }));
  const exitCode = exitOf(problem.code);
  const { out } = session;
  if (error instanceof Interrupted) out.say("interrupted");
  else out.say(errorBlock({ problem, source: manifestSource(session, problem), next, paint: out.paint }));
  out.finish({ json: { ...problem, next, exitCode } });
  return exitCode;
}

function usage(error: CommanderError): CliError {
  const detail = error.message.replace(/^error: /, "");
  const command = error instanceof UsageError ? error.command : "sluice";
  return new CliError("usage", detail, {
    next: [{ command: `${command} -h`, when: "to see what there is" }],
  });
}

/** The text that an error's line and column are about. */
function manifestSource(
  session: Session,
  { errors }: { errors?: readonly { line?: number | undefined }[] | undefined },
) {
  if (!errors?.some((error) => error.line !== undefined)) return undefined;
  const file = findManifest(session.globals.file, session.cwd);
  if (file === undefined) return undefined;
  try {
    return {
      path: session.globals.file ?? relativePath(file, session.cwd),
      text: readFileSync(file, "utf8"),
    };
  } catch {
    return undefined; // Gone since it was sent: the error stands without the line.
  }
}

const relativePath = (file: string, cwd: string) =>
  file.startsWith(`${cwd}/`) ? file.slice(cwd.length + 1) : file;

/** The same, with this process's ends: arguments, streams, signals and exit code. */
export async function runProcess(): Promise<void> {
  const interrupt = new AbortController();
  const onSignal = () => {
    // A second Ctrl-C is impatience: nothing here needs more time than the first one had.
    if (interrupt.signal.aborted) process.exit(EXIT.interrupted);
    interrupt.abort(new Interrupted());
  };
  // The last is of a terminal that was closed.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, onSignal);
  // Whoever read the words has gone: what was begun goes on, and the exit code tells how that went.
  process.stderr.on("error", () => {});
  // `sluice releases | head` closes our stdout early, and means it.
  let isClosed = false;
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    isClosed = true;
    // A full disk ends no release: it is said, and the exit code tells how that went.
    if (error.code !== "EPIPE") process.stderr.write(`stdout can't be written: ${error.message}\n`);
  });
  const { stdout, stderr, env } = process;
  process.exitCode = await main({
    argv: process.argv.slice(2),
    terminal: {
      get stdin() {
        return process.stdin;
      },
      stdout: {
        isTTY: stdout.isTTY === true,
        get isClosed() {
          return isClosed;
        },
        write: (text) => void stdout.write(text),
      },
      stderr: {
        isTTY: stderr.isTTY === true,
        get columns() {
          return stderr.columns ?? 80;
        },
        write: (text) => void stderr.write(text),
      },
      env,
    },
    cwd: process.cwd(),
    signal: interrupt.signal,
  });
}

if (import.meta.main) await runProcess();
