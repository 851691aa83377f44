import { spawn, spawnSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SCRIPTS, type Shell } from "../../../cli/completion/scripts.ts";
import {
  anEnvironment,
  aRelease,
  at,
  type FakeApi,
  fakeApi,
  type Route,
} from "../../support/cli/fake-api.ts";
import { COMPILE_CACHE, callCli, MAIN, NODE } from "../../support/cli/run-cli.ts";
import { page } from "../calls.ts";
import { ENV } from "../scenarios.ts";

const shop = (name: string) => ({
  app: name,
  createdAt: at(0),
  environments: [anEnvironment([], { app: name }), anEnvironment([], { app: name, environment: "staging" })],
});
/** A control plane with two apps, and one whose name would be a command. */
const NAMES: Record<string, Route> = {
  "GET /api/v1/apps": page(shop("shop"), shop("shipping"), shop("sh$(touch pwned)")),
  "GET /api/v1/apps/shop": (_asked, answer) => answer.json(200, shop("shop")),
  [`GET ${ENV}/releases`]: page(
    aRelease({ version: "v41", state: "live" }),
    aRelease({ id: "rel_9", version: "v40" }),
  ),
};
let api: FakeApi;
beforeAll(async () => {
  api = await fakeApi(NAMES);
});
afterAll(() => api[Symbol.asyncDispose]());

/** What the scripts are told, without what it is about. */
async function told(line: readonly string[], url: string | undefined = api.url) {
  const { code, stdout, stderr } = await callCli(["complete", "--", ...line], { url });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout.split("\n").flatMap((each) => each.split("\t")[0] || []);
}

describe("what can be typed next", () => {
  test.each<[string[], string[]]>([
    [["re"], ["reject", "resume", "restart", "releases", "registry"]],
    [["comp"], ["completion"]],
    [["hosts", "en"], ["enroll"]],
    [["-a", "shop", "deploy", "--when"], ["--when-busy"]],
    [
      ["deploy", "--when-busy", ""],
      ["queue", "reject", "supersede"],
    ],
    [["deploy", "--when-busy=s"], ["--when-busy=supersede"]],
    [["deploy", "--no-such="], []],
    [["deploy", "--ur"], ["--url"]],
    [["preview", "up", "--im"], ["--image"]],
    [
      ["completion", ""],
      ["bash", "zsh", "fish"],
    ],
    [
      ["maintenance", "o"],
      ["on", "off"],
    ],
    // Another command's words, and the value of an option that takes any.
    [["run", "--", "--js"], []],
    [["deploy", "--image", "sh"], []],
    [["deploy", "--image", "status", "--det"], ["--detach"]],
    [[";", "$(touch pwned)", ""], []],
    [[], ["init"]],
  ])("after %j", async (line, is) => {
    const found = await told(line);
    expect(line.length === 0 ? found.slice(0, 1) : found).toEqual(is);
  });

  test.each<[string[], string[]]>([
    [
      ["-a", ""],
      ["shop", "shipping"],
    ],
    [["--app=ship"], ["--app=shipping"]],
    [
      ["-a", "shop", "status", "-e", ""],
      ["production", "staging"],
    ],
    [["-a", "shop", "promote-to", "st"], ["staging"]],
    [
      ["-a", "shop", "rollback", "--to", "v"],
      ["v41", "v40"],
    ],
    [
      ["rollback", "-a", "shop", "-e", "production", "--to=v4"],
      ["--to=v41", "--to=v40"],
    ],
    [
      ["logs", "sh"],
      ["shop", "shipping"],
    ],
    // Of nothing that is known there is nothing to say.
    [["-a", "nobody", "rollback", "--to", ""], []],
    [["hosts", "drain", ""], []],
  ])("by the names that control has, after %j", async (line, is) => {
    expect(await told(line)).toEqual(is);
  });

  test("nothing and no error where control is silent, gone or not known", async () => {
    await using silent = await fakeApi({ "GET /api/v1/apps": () => {} });
    expect(await told(["-a", ""], silent.url)).toEqual([]);
    expect(await told(["-a", ""], "http://127.0.0.1:1")).toEqual([]);
    const nowhere = await callCli(["complete", "--", "-a", ""]);
    expect(nowhere).toMatchObject({ code: 0, stdout: "" });
  });
});

test("`--json` behind `--` is another command's word", async () => {
  const ran = await callCli(["complete", "--json", "--", "deploy", "--json"]);
  expect(JSON.parse(ran.stdout).items).toMatchObject([{ value: "--json" }]);
  expect((await callCli(["complete", "--", "deploy", "--json"])).stdout).toMatch(/^--json\t/);
});

/** `script` of bsdutils gives a command a pseudo-terminal. */
const SCRIPT = "script";
/** One that the machine lacks is skipped, and said so. */
function has(shell: Shell): boolean {
  const is = spawnSync(shell, ["--version"]).status === 0;
  if (!is) console.warn(`no ${shell} here: completion in it is not tested`);
  return is;
}
/** A person's shell on a terminal of its own, which says that it listens. */
const START: Record<"bash" | "zsh", { command: string; rc: string; setup: string }> = {
  bash: {
    command: "bash --noprofile --rcfile rc -i",
    rc: "rc",
    setup: "PS1='LISTENS> '\nbind 'set bell-style none'\n",
  },
  zsh: { command: "zsh -i", rc: ".zshrc", setup: "PS1='LISTENS> '\nunsetopt beep\n" },
};

/** What the shells ask, but for the first of each, which the real one answers. */
const FORESEEN = [
  ["hosts", "enr"],
  ["deploy", "--when-b"],
  ["deploy", "--when-busy", "sup"],
  ["deploy", "--when-busy=sup"],
  ["deploy", "--when-busy="],
  ["-a", "shipp"],
  ["-a", "shop", "rollback", "--to", "v41"],
  ["import", "my"],
];

describe.each(["bash", "zsh", "fish"] as const)("in %s, a real one", (shell) => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), `sluice-${shell}-`));
    // The command line as it is, which writes down with which words it was run. What it would answer lies there already:
    // a process for each press of the key is most of what this costs. Asked for anything else it is started.
    await writeFile(
      join(folder, "sluice"),
      `#!/bin/sh
if [ "$1" = complete ]; then
  answer="answers/$(printf '[%s]' "$@")"
  [ -f "$answer" ] && exec cat "$answer"
  exec "${NODE}" "${MAIN}" "$@"
fi
printf '[%s]' "$@" >>ran; echo >>ran
`,
    );
    await chmod(join(folder, "sluice"), 0o755);
    await mkdir(join(folder, "answers"));
    for (const words of FORESEEN) {
      const { stdout } = await callCli(["complete", "--", ...words], { url: api.url });
      await writeFile(
        join(folder, "answers", `[complete][--]${words.map((one) => `[${one}]`).join("")}`),
        stdout,
      );
    }
    await writeFile(join(folder, "my notes.txt"), "");
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));
  const environment = () => ({
    PATH: `${folder}:${process.env.PATH}`,
    HOME: folder,
    ZDOTDIR: folder,
    TERM: "xterm",
    NODE_COMPILE_CACHE: COMPILE_CACHE,
    SLUICE_URL: api.url,
    SLUICE_TOKEN: "slu_test",
  });

  /** Types lines on a terminal; answers the words that the commands were run with. */
  async function typed(lines: readonly string[]): Promise<string[]> {
    const { command, rc, setup } = START[shell as "bash" | "zsh"];
    await writeFile(join(folder, rc), `${setup}${SCRIPTS[shell]}\n`);
    await rm(join(folder, "ran"), { force: true });
    const child = spawn(SCRIPT, ["-qec", command, "/dev/null"], { cwd: folder, env: environment() });
    const left = [...lines, "exit"];
    let text = "";
    child.stdout.on("data", (chunk) => {
      text += chunk;
      const prompts = text.split("LISTENS> ").length - 1;
      while (left.length > lines.length + 1 - prompts) child.stdin.write(`${left.shift()}\r`);
    });
    await new Promise((resolve) => child.on("close", resolve));
    const ran = await readFile(join(folder, "ran"), "utf8").catch(() => `nothing ran:\n${text}`);
    return ran.trim().split("\n");
  }
  const LINES: [string, string][] = [
    ["sluice stat\t", "[status]"],
    ["sluice hosts enr\t", "[hosts][enroll]"],
    ["sluice deploy --when-b\tsup\t", "[deploy][--when-busy][supersede]"],
    ["sluice deploy --when-busy=sup\t", "[deploy][--when-busy=supersede]"],
    ["sluice -a shipp\tstatus", "[-a][shipping][status]"],
    ["sluice -a shop rollback --to v41\t", "[-a][shop][rollback][--to][v41]"],
    // A file's name is quoted; a word that would be a command stays a word.
    ["sluice import my\t", "[import][my notes.txt]"],
    ["sluice -a '$(touch pwned)' stat\t", "[-a][$(touch pwned)][status]"],
  ];

  if (shell !== "fish")
    test.skipIf(!has(shell))("each press of the key writes what was meant", async () => {
      expect(await typed(LINES.map(([line]) => line))).toEqual(LINES.map(([, ran]) => ran));
      await expect(readFile(join(folder, "pwned"))).rejects.toThrow();
    });

  if (shell === "fish")
    test.skipIf(!has(shell))("it offers what was meant, and what that is about", async () => {
      await writeFile(join(folder, "sluice.fish"), SCRIPTS.fish);
      const offered = async (line: string) => {
        const script = 'source sluice.fish; complete -C "$argv[1]"';
        const child = spawn(shell, ["--no-config", "-c", script, line], { cwd: folder, env: environment() });
        let text = "";
        child.stdout.on("data", (chunk) => {
          text += chunk;
        });
        await new Promise((resolve) => child.on("close", resolve));
        return text.split("\n").filter(Boolean);
      };
      expect(await offered("sluice stat")).toEqual([expect.stringMatching(/^status\t./)]);
      const policies = await offered("sluice deploy --when-busy=");
      expect(policies.map((one) => one.split("=")[1])).toEqual(["queue", "reject", "supersede"]);
      expect(await offered("sluice -a shipp")).toEqual(["shipping"]);
      expect(await offered("sluice -a shop rollback --to v41")).toEqual(["v41\tlive"]);
      expect(await offered("sluice import my")).toEqual([expect.stringContaining("my notes.txt")]);
      await offered("sluice -a '$(touch pwned)' stat");
      await expect(readFile(join(folder, "pwned"))).rejects.toThrow();
    });
});
