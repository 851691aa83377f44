import { Command, Help } from "commander";
import { EXIT, EXIT_MEANINGS, type ExitCode } from "./exit-codes.ts";

const WIDTH = 80;

/** What most people come for, with its words; everything else by name, under what it is for. */
const EVERY_DAY = "init apply deploy ship status logs promote abort rollback doctor explain".split(" ");
const GROUPS: Readonly<Record<string, readonly string[]>> = {
  "look closer": "plan watch releases runs top events verdicts dora audit".split(" "),
  "steer by hand": "approve reject pause resume weight preview promote-to".split(" "),
  "what runs": "restart scale run maintenance lock unlock destroy".split(" "),
  "what it needs": "secrets registry hostnames accessory webhooks".split(" "),
  "hosts, people": "hosts token trust people".split(" "),
  installation: "setup teardown".split(" "),
  "this machine": "import completion mcp help".split(" "),
};

const SHORT: Readonly<Record<ExitCode, string>> = {
  0: "done",
  1: "wrong usage or configuration: nothing was changed",
  2: "refused before any change",
  3: "the release did not make it; the traffic is where it was",
  4: "the release did not make it, and the traffic is NOT known to be back: act",
  5: "the release waits for a person",
  6: "no answer; a release that was started goes on",
  130: "interrupted; a release that was started goes on",
};

/** One screen for the whole command line; each command's own help is commander's. */
export const formatHelp = (command: Command, helper: Help): string =>
  command.parent ? Help.prototype.formatHelp.call(helper, command, helper) : overview(command, helper);

function overview(program: Command, helper: Help): string {
  const commands = new Map(helper.visibleCommands(program).map((each) => [each.name(), each]));
  const grouped = new Set([...EVERY_DAY, ...Object.values(GROUPS).flat()]);
  const other = [...commands.keys()].filter((name) => !grouped.has(name));
  const groups = Object.entries({ ...GROUPS, ...(other.length > 0 ? { other } : {}) });
  const words = (name: string) => helper.subcommandDescription(commands.get(name) ?? new Command());
  const options = helper
    .visibleOptions(program)
    .map((each): Item => [helper.optionTerm(each), helper.optionDescription(each)]);
  const codes = Object.values(EXIT).map((code): Item => [String(code), SHORT[code]]);
  return [
    `Usage: sluice <command> [options]\n\n${helper.commandDescription(program)}\n`,
    "Every day (sluice <command> -h: its examples and options)",
    ...items(EVERY_DAY.map((name) => [name, words(name)])),
    "\nAnd to",
    ...items(groups.map(([title, names]) => [title, names.join(" ")])),
    "\nOptions of every command",
    ...items(options, folded),
    "\nExit codes (sluice explain <code> says more)",
    ...items(codes),
    "",
  ].join("\n");
}

type Item = readonly [term: string, words: string];

function items(all: readonly Item[], shape: (words: string, room: number) => string[] = fitted): string[] {
  const wide = Math.max(...all.map(([term]) => term.length));
  return all.flatMap(([term, words]) =>
    shape(words, WIDTH - wide - 4).map((line, at) => `  ${(at ? "" : term).padEnd(wide)}  ${line}`),
  );
}

/** One line: what does not fit ends at the last clause that does. */
function fitted(words: string, room: number): string[] {
  const start = words.slice(0, room + 1);
  const end = [/[;:]| \(/, /,/].map((mark) => start.search(mark)).find((at) => at > 0);
  return [words.length <= room || end === undefined ? words : start.slice(0, end)];
}

/** The whole table, for the commands whose end a script waits for. */
export function exitTable(): string {
  const lines = Object.values(EXIT).flatMap((code) =>
    folded(EXIT_MEANINGS[code], WIDTH - 7).map(
      (line, at) => `  ${(at ? "" : String(code)).padEnd(5)}${line}`,
    ),
  );
  return `\nExit codes:\n${lines.join("\n")}`;
}

function folded(words: string, room: number): string[] {
  const lines = [""];
  for (const word of words.split(" ")) {
    const line = [lines.at(-1), word].filter((part) => part !== "").join(" ");
    if (line.length <= room) lines[lines.length - 1] = line;
    else lines.push(word);
  }
  return lines;
}
