import { appendFileSync } from "node:fs";
import type { Readable } from "node:stream";
import { coloured, type Paint, plain, tame } from "./print.ts";
import { CliError } from "./problem.ts";

export type JsonMode = "off" | "object" | "stream";

export type Stdin = Readable & { readonly isTTY?: boolean };

type Outputs = Omit<Terminal, "stdin">;

/** The process's ends, as values, so that tests can hand in their own. */
export interface Terminal {
  readonly stdin: Stdin;
  readonly stdout: {
    readonly isTTY: boolean;
    /** Whoever read it has gone. */
    readonly isClosed?: boolean;
    write(text: string): void;
  };
  readonly stderr: { readonly isTTY: boolean; readonly columns: number; write(text: string): void };
  readonly env: Readonly<Record<string, string | undefined>>;
}

/**
 * Who may write where. stdout carries the result and nothing else (text, or JSON when asked for); all that is said to
 * a person goes to stderr. Commands return their result, so that only `finish` can reach stdout; where lines are the
 * result, as they come, `print` and `line` can, too.
 */
export class Output {
  readonly mode: JsonMode;
  readonly stdoutIsTty: boolean;
  /** Redrawing is for a person at a real terminal. CI logs keep every byte, and half a terminal garbles them. */
  readonly redraws: boolean;
  readonly paint: Paint;
  /** The same for what goes to stdout. */
  readonly stdoutPaint: Paint;
  readonly #terminal: Outputs;
  #live: { clear(): void; draw(): void } | undefined;
  #cannotAppend = false;

  constructor(terminal: Outputs, mode: JsonMode) {
    const { env, stderr } = terminal;
    this.#terminal = terminal;
    this.mode = mode;
    this.stdoutIsTty = terminal.stdout.isTTY;
    const smart = stderr.isTTY && env.TERM !== "dumb";
    this.redraws = smart && !env.CI;
    const isColourful = terminal.stdout.isTTY && env.TERM !== "dumb" && !env.NO_COLOR;
    this.stdoutPaint = isColourful ? coloured : plain;
    this.paint = smart && !env.NO_COLOR ? coloured : plain;
  }

  get isStdoutClosed(): boolean {
    return this.#terminal.stdout.isClosed === true;
  }

  get columns(): number {
    return this.#terminal.stderr.columns || 80;
  }

  /** What is asked for itself may change in its place: whoever pipes it gets it as text. */
  get redrawsAnswer(): boolean {
    return this.redraws && this.stdoutIsTty;
  }

  /** A line (or lines) for the person. */
  say(text = ""): void {
    const { stderr } = this.#terminal;
    this.#live?.clear();
    stderr.write(`${stderr.isTTY ? text : tame(text)}\n`);
    this.#live?.draw();
  }

  /** A line that a CI system is meant to obey; its words are the caller's to make harmless. */
  mark(line: string): void {
    this.#terminal.stderr.write(`${line}\n`);
  }

  /** Raw bytes to stderr, for the redrawn region only. */
  draw(text: string): void {
    this.#terminal.stderr.write(text);
  }

  /** Registers the region that must step aside while a line is said. */
  setLive(region: { clear(): void; draw(): void } | undefined): void {
    this.#live = region;
  }

  /** One line of a result that has no end. */
  print(text: string): void {
    const { stdout } = this.#terminal;
    stdout.write(`${stdout.isTTY ? text : tame(text)}\n`);
  }

  /** The same as NDJSON. Never into SLUICE_OUTPUT_FILE: an app's lines are not this command's. */
  line(object: object): void {
    this.#terminal.stdout.write(`${jsonLine(object)}\n`);
  }

  /** One event of a feed: NDJSON with `--json=stream`, and into SLUICE_OUTPUT_FILE. */
  event(event: object): void {
    const line = jsonLine(event);
    if (this.mode === "stream") this.#terminal.stdout.write(`${line}\n`);
    this.#append(line);
  }

  /** The result, once, at the end. */
  finish(result: { json: object; text?: string | undefined; secret?: boolean }): void {
    const line = jsonLine(result.json);
    if (this.mode !== "off") this.#terminal.stdout.write(`${line}\n`);
    else if (result.text !== undefined) this.print(result.text);
    if (!result.secret) this.#append(line);
  }

  /** Before anything is sent: whoever wants the result in a file must not find out after a release that it can't be. */
  checkFile(): void {
    const file = this.#terminal.env.SLUICE_OUTPUT_FILE;
    if (!file) return;
    try {
      appendFileSync(file, "");
    } catch (error) {
      this.#cannotAppend = true;
      throw new CliError("usage", `SLUICE_OUTPUT_FILE can't be written: ${(error as Error).message}`);
    }
  }

  /** What was done is done, whether it can be written down or not: said once, and the exit code stays. */
  #append(line: string): void {
    const file = this.#terminal.env.SLUICE_OUTPUT_FILE;
    if (!file || this.#cannotAppend) return;
    try {
      appendFileSync(file, `${line}\n`);
    } catch (error) {
      this.#cannotAppend = true;
      this.say(`SLUICE_OUTPUT_FILE is not complete: ${(error as Error).message}`);
    }
  }
}

/** The same JSON to whoever parses it, and no command to a CI that reads along. */
const jsonLine = (object: object): string =>
  JSON.stringify({ schema: 1, ...object }).replaceAll("##[", "##\\u005b");
