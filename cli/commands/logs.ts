import { InvalidArgumentError, Option } from "commander";
import type { LogItem } from "../../src/client/index.ts";
import { type LogEndView, type LogLineView, parseSince } from "../../src/protocol/api/logs.ts";
import { EXIT } from "../exit-codes.ts";
import type { Output } from "../io/output.ts";
import { clean, type Style } from "../io/print.ts";
import { CliError } from "../io/problem.ts";
import type { Outcome, Session } from "../session.ts";
import { examples, type Register } from "../verb.ts";

/** `--json` holds them all until the end. */
const MAX_KEPT = 10_000;
/** A host that joins within it was there from the beginning: nothing to say. */
const AT_ONCE_MS = 2_000;
const COLOURS: readonly Style[] = ["cyan", "green", "yellow", "magenta", "blue"];

export const logs: Register = (program, act) => {
  program
    .command("logs")
    .argument("[app]", "the app (default: -a, else the manifest's)")
    .description("the lines of all instances, in the order they were written")
    .option("-F, --follow", "go on with what is written from now on, across deploys and lost connections")
    .option("--release <version>", "only instances of this release (id or version)")
    .option("--host <host>", "only of this host")
    .option("--accessory <name>", "an accessory's lines instead of the instances'")
    .addOption(
      new Option("--since <time>", "only lines since then: 10m, 2h, or an ISO time").argParser(checkSince),
    )
    .addOption(
      new Option(
        "-n, --tail <lines>",
        "so many last lines of each instance (default 100; with --since all)",
      ).argParser(parseTail),
    )
    .addHelpText(
      "before",
      examples(
        "sluice logs",
        "sluice logs shop -e production --follow",
        "sluice logs --release v42 --since 10m",
      ),
    )
    .action(act(run));
};

interface LogsFlags {
  readonly follow?: true;
  readonly release?: string;
  readonly host?: string;
  readonly accessory?: string;
  readonly since?: string;
  readonly tail?: number;
}

async function run(session: Session, app: string | undefined, flags: LogsFlags): Promise<Outcome> {
  const { out } = session;
  if (flags.follow && out.mode === "object")
    throw new CliError("usage", "--json is one object at the end, and --follow has none: use --json=stream");
  const target = session.target(app);
  const printer = new Printer(out, flags, session.now);
  for await (const item of session.client.environments.logs(target.app, target.environment, flags)) {
    printer.item(item);
    // `sluice logs --follow | head` has all it wants.
    if (out.isStdoutClosed) break;
  }
  const { end } = printer;
  if (end && end.hosts.length > 0 && end.answered.length === 0) throw noneAnswers(session, end);
  const kept = out.mode === "object" ? { lines: printer.lines, truncated: printer.isTruncated } : {};
  const json = { command: "logs", exitCode: EXIT.ok, app: target.app, environment: target.environment };
  const answers = { hosts: end?.hosts ?? [], answered: end?.answered ?? [] };
  return { exit: EXIT.ok, json: { ...json, ...kept, ...answers } };
}

const noneAnswers = (session: Session, { hosts }: LogEndView) =>
  new CliError(
    "no_contact",
    `no host answered, so there are no lines to be had: asked were ${hosts.join(", ")}`,
    {
      title: "no host answers",
      next: [{ command: session.command("hosts"), when: "to see which hosts are online" }],
    },
  );

/** Lines are what was asked for, hence stdout; all that is said about them is not. */
class Printer {
  readonly lines: LogLineView[] = [];
  isTruncated = false;
  end: LogEndView | undefined;
  readonly #out: Output;
  readonly #flags: LogsFlags;
  readonly #now: () => number;
  readonly #begunAt: number;
  readonly #colours = new Map<string, Style>();
  #isLost = false;

  constructor(out: Output, flags: LogsFlags, now: () => number) {
    this.#out = out;
    this.#flags = flags;
    this.#now = now;
    this.#begunAt = now();
  }

  item(item: LogItem): void {
    if (item.kind === "line") return this.#line(item.line);
    if (item.kind === "lost") return this.#lost(item.error.message);
    if (item.kind === "back") {
      this.#isLost = false;
      return this.#out.say("back in contact");
    }
    if (item.kind === "end") {
      this.end = item.end;
      if (item.end.hosts.length === 0) this.#out.say(clean(item.end.message));
      return;
    }
    const { message, ...facts } = item.kind === "gap" ? item.gap : item.host;
    if (this.#out.mode === "stream") this.#out.line({ type: item.kind, ...facts, message });
    if (item.kind === "gap" || this.#isNews(item.host.state)) this.#out.say(clean(message));
  }

  /** That a host joins or has sent all is the ordinary case; later it is the end of a worry. */
  #isNews(state: string): boolean {
    return state === "joined" ? this.#now() - this.#begunAt > AT_ONCE_MS : state !== "ended";
  }

  #lost(reason: string): void {
    if (!this.#isLost)
      this.#out.say(`${reason}; trying again, no line is missed as long as the hosts have it`);
    this.#isLost = true;
  }

  #line(line: LogLineView): void {
    if (this.#out.mode === "stream") return this.#out.line({ type: "line", ...line });
    if (this.#out.mode === "off") return this.#out.print(this.#text(line));
    this.isTruncated = this.lines.length >= MAX_KEPT;
    if (!this.isTruncated) this.lines.push(line);
  }

  #text({ host, instance, version, text }: LogLineView): string {
    const { stdoutPaint, stdoutIsTty } = this.#out;
    const what =
      version === "" ? (this.#flags.accessory ?? instance) : `${version} #${instance.split("-").at(-1)}`;
    const prefix = stdoutPaint(this.#colourOf(instance), `${clean(`${host} ${what}`)} |`);
    // To a file goes what the app wrote; a terminal is not to be steered by it.
    return `${prefix} ${stdoutIsTty ? clean(text) : text}`;
  }

  #colourOf(instance: string): Style {
    const known = this.#colours.get(instance);
    if (known) return known;
    const colour = COLOURS[this.#colours.size % COLOURS.length] ?? "cyan";
    if (this.#colours.size < MAX_KEPT) this.#colours.set(instance, colour);
    return colour;
  }
}

function checkSince(text: string): string {
  if (parseSince(text, 0) !== undefined) return text;
  throw new InvalidArgumentError(
    "It must be a duration such as 10m, or an ISO time such as 2026-11-23T12:00:00Z.",
  );
}

function parseTail(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 10_000) return Number(text);
  throw new InvalidArgumentError("It must be a whole number from 0 to 10000.");
}
