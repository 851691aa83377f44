import { execFile } from "node:child_process";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { parse } from "yaml";

const ACTION = new URL("../../action.yml", import.meta.url);
const run = promisify(execFile);

const action = parse(await readFile(ACTION, "utf8")) as {
  inputs: Record<string, unknown>;
  outputs: Record<string, { value: string }>;
  runs: { steps: { id?: string; run: string; env: Record<string, string> }[] };
};

test("the action takes no input into a script, where it could be a command", () => {
  for (const { run, env } of action.runs.steps) {
    expect(run).not.toContain("${{");
    for (const value of Object.values(env))
      expect(Object.keys(action.inputs)).toContain(/inputs\.(\w+)/.exec(value)?.[1]);
  }
});

const DONE = {
  outcome: "live",
  url: "https://shop.example.com",
  undo: "sluice rollback",
  release: {
    id: "rel_1",
    version: "v43\nx=1",
    app: "shop",
    environment: "production",
    image: "ghcr.io/acme/shop|x",
  },
};

test.each([0, 3])("its outputs, summary and exit code are the command's (%i)", async (code) => {
  const folder = await mkdtemp(join(tmpdir(), "sluice-action-"));
  try {
    const at = (name: string) => join(folder, name);
    await writeFile(
      at("sluice"),
      `#!/bin/sh\nprintf '%s\\n' "$@" >"${at("args")}"\ncat <<'E'\n${JSON.stringify(DONE)}\nE\nexit ${code}\n`,
    );
    await chmod(at("sluice"), 0o755);
    const inputs = {
      IMAGE: "ghcr.io/acme/shop:$(touch evil)",
      VERSION: "",
      APP: "shop",
      ENVIRONMENT: "",
      FILE: "",
      APPLY: "true",
      WAIT: "done",
      TOKEN: "",
    };
    const env = {
      PATH: `${folder}:${process.env.PATH}`,
      RUNNER_TEMP: folder,
      GITHUB_OUTPUT: at("output"),
      GITHUB_STEP_SUMMARY: at("summary"),
      ...Object.fromEntries(Object.entries(inputs).map(([name, value]) => [`INPUT_${name}`, value])),
    };
    const script = action.runs.steps.find(({ id }) => id === "deploy")?.run ?? "";
    const ended = await run("bash", ["-c", script], { env, cwd: folder }).then(
      () => 0,
      (error: { code: number }) => error.code,
    );
    expect(ended).toBe(code);
    expect((await readFile(at("args"), "utf8")).trim().split("\n")).toEqual([
      "deploy",
      "--json",
      "--wait=done",
      "--image",
      "ghcr.io/acme/shop:$(touch evil)",
      "--app",
      "shop",
      "--apply",
    ]);
    const output = await readFile(at("output"), "utf8");
    expect(output.split("\n")).toEqual([
      "release=rel_1",
      "version=v43 x=1",
      "outcome=live",
      "url=https://shop.example.com",
      "",
    ]);
    for (const name of Object.keys(action.outputs)) expect(output).toContain(`${name}=`);
    expect(await readFile(at("summary"), "utf8")).toContain("| image | ghcr.io/acme/shop&#124;x |");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
