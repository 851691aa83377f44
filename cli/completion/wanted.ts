import type { Argument, Command, Option } from "commander";

/** Names that only control knows. */
export type LiveKind = "apps" | "environments" | "releases" | "hosts";

export interface Candidate {
  readonly value: string;
  readonly about?: string;
}
/** What may stand where the cursor is. */
export interface Wanted {
  /** What is there already of the word. */
  readonly typed: string;
  /** What the shell has to put before each: it replaces the whole word. */
  readonly before: string;
  readonly words: readonly Candidate[];
  readonly live?: LiveKind;
  /** Where those names are looked up, as far as the line says. */
  readonly globals: Readonly<Record<string, string>>;
}

/** By the name of the argument, or the placeholder of the option. */
const LIVE: Readonly<Record<string, LiveKind>> = {
  app: "apps",
  environment: "environments",
  release: "releases",
  version: "releases",
  host: "hosts",
};
const GLOBAL_LIVE: Readonly<Record<string, LiveKind>> = { app: "apps", env: "environments" };

interface Walk {
  readonly program: Command;
  command: Command;
  /** Arguments of the command that stand before the cursor. */
  given: number;
  /** The option whose value comes next. */
  option: Option | undefined;
  /** After `--` nothing is an option or a command. */
  isOver: boolean;
  readonly globals: Record<string, string>;
}

/** Reads a line's words after `sluice`, the last of which is being typed (it may be empty), by the commands themselves. */
export function wantedAt(program: Command, line: readonly string[]): Wanted {
  const walk: Walk = { program, command: program, given: 0, option: undefined, isOver: false, globals: {} };
  for (const word of line.slice(0, -1)) step(walk, word);
  return at(walk, line.at(-1) ?? "");
}

function step(walk: Walk, word: string): void {
  if (walk.option) {
    noteValue(walk, walk.option, word);
    walk.option = undefined;
  } else if (walk.isOver) walk.given += 1;
  else if (word === "--") walk.isOver = true;
  else if (word.startsWith("-")) stepOption(walk, word);
  else {
    const sub = walk.command.commands.find((one) => one.name() === word);
    if (sub) Object.assign(walk, { command: sub, given: 0 });
    else walk.given += 1;
  }
}

function stepOption(walk: Walk, word: string): void {
  const [flag = "", value] = splitFlag(word);
  const option = optionOf(walk, flag);
  if (!option) return;
  if (value !== undefined) noteValue(walk, option, value);
  else if (option.required) walk.option = option;
}

function noteValue({ program, globals }: Walk, option: Option, value: string): void {
  if (program.options.includes(option)) globals[option.attributeName()] = value;
}

function at(walk: Walk, typed: string): Wanted {
  const { option, command, given, isOver } = walk;
  if (option) return ofOption(walk, option, { typed, before: "" });
  if (!isOver && typed.startsWith("--") && typed.includes("=")) {
    const [flag = "", value = ""] = splitFlag(typed);
    const meant = optionOf(walk, flag);
    return meant ? ofOption(walk, meant, { typed: value, before: `${flag}=` }) : nothing(walk, typed);
  }
  if (!isOver && typed.startsWith("-")) return { ...nothing(walk, typed), words: optionsOf(walk) };
  const words = given === 0 && !isOver ? command.commands.filter(isShown).map(asCandidate) : [];
  const { registeredArguments: all } = command;
  const argument = all[given] ?? (all.at(-1)?.variadic ? all.at(-1) : undefined);
  return { ...nothing(walk, typed), ...ofArgument(argument, words) };
}

function ofArgument(
  argument: Argument | undefined,
  words: readonly Candidate[],
): Pick<Wanted, "words" | "live"> {
  const choices = (argument?.argChoices ?? []).map((value) => ({ value }));
  const live = argument && LIVE[argument.name()];
  return { words: [...words, ...choices], ...(live ? { live } : {}) };
}

function ofOption(walk: Walk, option: Option, word: { typed: string; before: string }): Wanted {
  const words = (option.argChoices ?? []).map((value) => ({ value }));
  const placeholder = /[<[]([\w-]+)/.exec(option.flags)?.[1] ?? "";
  const isGlobal = walk.program.options.includes(option);
  const live = isGlobal ? GLOBAL_LIVE[option.attributeName()] : LIVE[placeholder];
  return { ...word, words, globals: walk.globals, ...(live ? { live } : {}) };
}

const nothing = ({ globals }: Walk, typed: string): Wanted => ({ typed, before: "", words: [], globals });

const splitFlag = (word: string): string[] => {
  const end = word.indexOf("=");
  return end < 0 ? [word] : [word.slice(0, end), word.slice(end + 1)];
};

function optionOf({ command, program }: Walk, flag: string): Option | undefined {
  return [...command.options, ...program.options].find(({ long, short }) => flag === long || flag === short);
}

function optionsOf({ command, program }: Walk): Candidate[] {
  const all = [...command.options, ...(command === program ? [] : program.options)].filter(
    (one) => !one.hidden,
  );
  const help = { value: "--help", about: "help for this command" };
  return [
    ...all.flatMap(({ long, description }) => (long ? [{ value: long, about: description }] : [])),
    help,
  ];
}

const isShown = (command: Command) => command.name() !== "complete";
const asCandidate = (command: Command): Candidate => ({
  value: command.name(),
  about: command.description(),
});
