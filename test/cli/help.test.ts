import { type Command, CommanderError } from "commander";
import { expect, test } from "vitest";
import { EXIT, EXIT_MEANINGS } from "../../cli/exit-codes.ts";
import { createProgram } from "../../cli/program.ts";

let written = "";
const program = () =>
  createProgram({
    version: "0",
    write: (text) => {
      written += text;
    },
    warn: () => {},
    act: () => async () => {},
  });

function helpOf(command: Command): string {
  written = "";
  command.outputHelp();
  return written;
}

/** Every command that help shows, with its words. */
function commandsOf(command: Command, path = "sluice"): [path: string, command: Command][] {
  const shown = command.createHelp().visibleCommands(command);
  return shown
    .filter((each) => each.name() !== "help")
    .flatMap((each) => {
      const own = `${path} ${each.name()}`;
      return [[own, each] as [string, Command], ...commandsOf(each, own)];
    });
}

const ALL = commandsOf(program());

/** Words as a shell makes them: quotes hold one together, a comment or a pipe ends it. */
function words(line: string): string[] {
  const inner = /\$\((sluice [^)]*)\)/.exec(line)?.[1];
  const from = inner ?? line.slice(line.indexOf("sluice ")).replace(/ +(#|>|\|).*$/, "");
  return [...from.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(
    (found) => found[1] ?? found[2] ?? found[3] ?? "",
  );
}

test("fits one screen, with every command in a group and every exit code", () => {
  const lines = helpOf(program()).split("\n");
  expect(lines.length).toBeLessThanOrEqual(60);
  expect(lines.filter((line) => line.length > 80)).toEqual([]);
  const named = lines.flatMap((line) => line.trim().split(/ +/));
  const top = ALL.map(([path]) => path.split(" ").slice(1)).filter((path) => path.length === 1);
  for (const [name] of top) expect(named).toContain(name);
  expect(named).not.toContain("other");
  for (const code of Object.values(EXIT))
    expect(lines.some((line) => line.startsWith(`  ${code} `))).toBe(true);
});

test.each(["deploy", "ship", "watch"])("the table of exit codes stands whole in that of %s", (name) => {
  const [, command] = ALL.find(([path]) => path === `sluice ${name}`) ?? [];
  const text = helpOf(command as Command).replace(/\s+/g, " ");
  for (const code of Object.values(EXIT)) expect(text).toContain(`${code} ${EXIT_MEANINGS[code]}`);
});

test.each(ALL)(
  "that of `%s` begins with an example of it, which the command line takes",
  async (path, command) => {
    const [, block = ""] = /^Examples:\n((?: {2}.*\n)+)/.exec(helpOf(command)) ?? [];
    const lines = block.split("\n").filter((line) => line !== "");
    expect(lines.filter((line) => line.includes(path))).not.toEqual([]);
    for (const line of lines.filter((each) => !each.includes("claude mcp"))) {
      const refused = program().parseAsync(words(line).slice(1), { from: "user" });
      const why = await refused.then(
        () => null,
        (error: unknown) => (error instanceof CommanderError && error.exitCode === 0 ? null : String(error)),
      );
      expect({ line, why }).toEqual({ line, why: null });
    }
  },
);

test.each([
  [["secrets", "unset", "KEY"], "unknown command 'unset'", "sluice secrets"],
  [["secrets", "-a", "shop", "unset"], "unknown command 'unset'", "sluice secrets"],
  [["secrets", "list", "KEY"], "too many arguments for 'list'", "sluice secrets list"],
  [["deploy", "now"], "too many arguments for 'deploy'", "sluice deploy"],
])("%j is a command that isn't there, or an argument too many", async (argv, words, command) => {
  const error = await program()
    .parseAsync(argv, { from: "user" })
    .catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ command, message: expect.stringContaining(words) });
});
