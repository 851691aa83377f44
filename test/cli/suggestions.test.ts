import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { CommanderError } from "commander";
import { expect, test } from "vitest";
import { createProgram } from "../../cli/program.ts";

const ROOT = resolve(import.meta.dirname, "../..");

/** What a `command:` of a next step says in the sources, with what is filled in as `${…}`. */
function suggestions(): string[] {
  const files = ["src/control", "src/domain", "cli"].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name) => join(ROOT, folder, name)),
  );
  const found = files.flatMap((file) => [
    ...readFileSync(file, "utf8").matchAll(/command: (?:"(sluice [^"]+)"|`(sluice [^`]+)`)/g),
  ]);
  return [...new Set(found.map((match) => match[1] ?? match[2] ?? ""))];
}

/** After a flag stands its value; elsewhere an argument, the flags that name a target, or nothing. */
function filled(command: string): string[][] {
  const [before, ...rest] = command.replace(/(--?[a-z-]+ )\$\{[^}]*\}/g, "$1x").split(/\$\{[^}]*\}/);
  const texts = rest.reduce(
    (begun, piece) => begun.flatMap((text) => ["x", "-a x -e x", ""].map((one) => text + one + piece)),
    [before ?? ""],
  );
  return texts.map((text) => text.split(/\s+/).filter((word) => word !== "" && word !== "sluice"));
}

/** Undefined: the command line takes it. */
async function refusal(argv: readonly string[]): Promise<string | undefined> {
  const program = createProgram({ version: "0", write: () => {}, warn: () => {}, act: () => async () => {} });
  return await program.parseAsync(argv, { from: "user" }).then(
    () => undefined,
    (error: unknown) => (error instanceof CommanderError && error.exitCode === 0 ? undefined : String(error)),
  );
}

test("every suggested command is one that the command line takes as printed", async () => {
  const commands = suggestions();
  expect(commands.length).toBeGreaterThan(25);
  for (const command of commands) {
    const refusals = await Promise.all(filled(command).map(refusal));
    const why = refusals.includes(undefined) ? [] : refusals;
    expect.soft({ command, why }).toEqual({ command, why: [] });
  }
});
