import { spawn, spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  anEnvironment,
  aServingRelease,
  at,
  fakeApi,
  GOOD_EVENTS,
  MANIFEST,
  type Route,
} from "../support/cli/fake-api.ts";
import { COMPILE_CACHE, MAIN, NODE } from "../support/cli/run-cli.ts";
import { newDesk } from "../support/cli/setup-desk.ts";
import { API_TOKEN, startCloudflare } from "../support/cloudflare/server.ts";
import { goodDeploy } from "./scenarios.ts";

const BIN = new URL("../../cli/bin.js", import.meta.url).pathname;
/** `script` of bsdutils gives a command a pseudo-terminal; without it there is none to test with. */
const SCRIPT = "script";
const hasScript = spawnSync(SCRIPT, ["--version"]).status === 0;

/** Runs a command on a pseudo-terminal and answers everything the terminal got. */
async function onTerminal(
  command: string,
  env: Record<string, string>,
  typed?: { after: string; keys: string },
): Promise<{ code: number | null; text: string }> {
  const cwd = await mkdtemp(join(tmpdir(), "sluice-tty-"));
  await writeFile(join(cwd, "sluice.yaml"), MANIFEST);
  const child = spawn(SCRIPT, ["-qec", command, "/dev/null"], {
    cwd,
    stdio: ["pipe", "pipe", "inherit"],
    env: {
      PATH: process.env.PATH ?? "",
      HOME: cwd,
      NODE_COMPILE_CACHE: COMPILE_CACHE,
      TERM: "xterm-256color",
      GIT_CEILING_DIRECTORIES: tmpdir(),
      ...env,
    },
  });
  let text = "";
  child.stdout.on("data", (chunk) => {
    const before = text;
    text += chunk;
    if (typed && text.includes(typed.after) && !before.includes(typed.after)) child.stdin.write(typed.keys);
  });
  const code = await new Promise<number | null>((resolve, reject) =>
    child.on("error", reject).on("close", resolve),
  );
  await rm(cwd, { recursive: true, force: true });
  return { code, text };
}

/** Events that come one by one: each after the one before, since timers of different lengths may overtake each other. */
const slowDeploy = () =>
  goodDeploy({
    "GET /api/v1/releases/rel_2/events": async (_asked, answer) => {
      const feed = answer.feed();
      for (const event of GOOD_EVENTS) {
        feed.event(event);
        await sleep(10);
      }
    },
    "GET /api/v1/releases/rel_2": (_asked, answer, nth) =>
      answer.json(
        200,
        nth === 1 ? { ...aServingRelease(), state: "queued", weight: 0, instances: [] } : aServingRelease(),
      ),
  });

describe.runIf(hasScript)("on a terminal", { concurrent: true }, () => {
  const command = `${NODE} ${MAIN} deploy`;

  test("the progress is redrawn in place and gone at the end; the final block and every state change stay", async () => {
    await using api = await fakeApi(slowDeploy());
    const { code, text } = await onTerminal(command, { SLUICE_URL: api.url, SLUICE_TOKEN: "x" });
    expect(code, text).toBe(0);
    expect(text).toContain("\u001b[0J");
    expect(text).toContain("●");
    const screen = replay(text);
    expect(screen.filter((line) => line.includes("waits for"))).toEqual([]);
    expect(screen.filter((line) => /^ +\d+\.\ds {2}/.test(line))).toHaveLength(GOOD_EVENTS.length);
    expect(screen.join("\n")).toContain("✔ v2 serves 100% of shop/production (was v1)");
  });

  test("in CI nothing is redrawn, though a terminal is there", async () => {
    await using api = await fakeApi(slowDeploy());
    const { text } = await onTerminal(command, {
      SLUICE_URL: api.url,
      SLUICE_TOKEN: "x",
      CI: "1",
      NO_COLOR: "1",
    });
    expect(text).not.toContain("\u001b");
    expect(text).toContain("settling    v2 serves all traffic");
  });

  test("NO_COLOR takes the colours and leaves the redraw", async () => {
    await using api = await fakeApi(slowDeploy());
    const { text } = await onTerminal(command, { SLUICE_URL: api.url, SLUICE_TOKEN: "x", NO_COLOR: "1" });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colour sequences are what is looked for
    expect(text).not.toMatch(/\u001b\[[0-9;]*m/);
    expect(text).toContain("\u001b[0J");
  });
});

test.runIf(hasScript)(
  "Ctrl-C while a deploy redraws leaves its words whole, below what stays, and the shell its margin",
  async () => {
    await using api = await fakeApi(
      goodDeploy({ "GET /api/v1/releases/rel_2/events": (_asked, answer) => void answer.feed() }),
    );
    const env = { SLUICE_URL: api.url, SLUICE_TOKEN: "x", NO_COLOR: "1" };
    const command = `${NODE} ${MAIN} deploy`;
    const { code, text } = await onTerminal(command, env, { after: "waits for", keys: "\u0003" });
    expect(code, text).toBe(130);
    // The terminal itself writes "^C" where the cursor stands.
    const lines = replay(text).map((line) => line.replace(/^\^C/, ""));
    expect(lines.filter((line) => line !== "").slice(-2)).toEqual([
      "detached. v2 goes on without this command.",
      "  watch  sluice watch rel_2",
    ]);
    expect(lines.join("\n")).not.toMatch(/waits for|●/);
    expect(text).toMatch(/\n$/);
  },
);

describe.runIf(hasScript)("a question before something is destroyed", { concurrent: true }, () => {
  test.each([
    ["y", "y\r", 0, 1],
    ["no", "n\r", 1, 0],
    ["Enter alone", "\r", 1, 0],
    ["Ctrl-D", "\u0004", 1, 0],
    ["Ctrl-C", "\u0003", 130, 0],
  ])("%s", async (_what, keys, code, deletes) => {
    await using api = await fakeApi({ "DELETE /api/v1/tokens/tok_1": (_asked, answer) => answer.empty(204) });
    const env = { SLUICE_URL: api.url, SLUICE_TOKEN: "x" };
    const ran = await onTerminal(`${NODE} ${MAIN} token revoke tok_1`, env, { after: "[y/N]", keys });
    expect(ran.code, ran.text).toBe(code);
    expect(api.asked).toHaveLength(deletes);
  });
});

describe.runIf(hasScript)("what is watched", { concurrent: true }, () => {
  const none = { requests: 0, perSecond: 0, errors: 0, errorRate: null, p50Ms: null, p95Ms: null };
  const event = { id: 1, type: "release.state", actor: "alex", app: "shop", environment: "production" };
  /** Something new with each look: whoever writes to nobody learns of it then. */
  const routes: Record<string, Route> = {
    "GET /api/v1/apps/shop/envs/production": (_asked, answer, nth) =>
      answer.json(200, anEnvironment([["v1", 100]]), { etag: `"${nth}"` }),
    "GET /api/v1/apps/shop/envs/production/visits": (_asked, answer) =>
      answer.json(200, {
        ...{ from: at(0), to: at(60_000), instances: [] },
        releases: [{ release: "rel_1", version: "v1", weight: 100, ...none }],
      }),
    "GET /api/v1/audit": (_asked, answer, nth) =>
      answer.json(200, {
        items: [{ ...event, id: nth, at: at(0), release: "rel_1", message: "v1 is live", data: {} }],
        nextCursor: null,
      }),
  };
  const watched = ["status --watch", "top", "events --follow"];

  test.each(watched)("`%s` ends by Ctrl-C with 130, and leaves the terminal as it was", async (verb) => {
    await using api = await fakeApi(routes);
    const env = { SLUICE_URL: api.url, SLUICE_TOKEN: "x" };
    const { code, text } = await onTerminal(`${NODE} ${MAIN} ${verb}`, env, { after: "v1", keys: "\u0003" });
    expect(code, text).toBe(130);
    // Neither another screen nor a hidden cursor, and the shell's next line begins at the margin.
    expect(text).not.toContain("\u001b[?");
    expect(text).toMatch(/\n$/);
    expect(
      replay(text)
        .filter((line) => line !== "")
        .at(-1),
    ).toMatch(/^(\^C)?interrupted$/);
  });

  test.each(watched)("`%s | head` ends quietly, and without an error", async (verb) => {
    await using api = await fakeApi(routes);
    const env = { SLUICE_URL: api.url, SLUICE_TOKEN: "x" };
    const json = verb.startsWith("events") ? " --json=stream" : "";
    const { code, text } = await onTerminal(`${NODE} ${MAIN} ${verb}${json} | head -n 1`, env);
    // On a busy machine it may also say that it waits for an answer.
    const lines = text
      .trimEnd()
      .split("\n")
      .filter((line) => !line.startsWith("no answer from"));
    expect([code, lines.length], text).toEqual([0, 1]);
  });
});

describe.runIf(hasScript)("a secret at a terminal", { concurrent: true }, () => {
  const secret = { name: "KEY", isSet: true, version: 1, updatedAt: at(0), updatedBy: "admin" };
  const answered = { secret: { ...secret, usedBy: ["app"], unreadable: null }, changed: true };
  test.each([
    ["is asked for, and what is typed is not shown", "hunter2\r", 0, ['{"value":"hunter2"}']],
    ["corrected while it is typed is taken as corrected", "hunter3\u007f2\r", 0, ['{"value":"hunter2"}']],
    ["is not taken empty", "\r", 1, []],
    ["is not set after Ctrl-D", "\u0004", 1, []],
    ["is not set after Ctrl-C", "hunter2\u0003", 130, []],
  ])("%s", async (_what, keys, code, bodies) => {
    await using api = await fakeApi({
      "PUT /api/v1/apps/shop/envs/production/secrets/KEY": (_asked, answer) => answer.json(200, answered),
    });
    const env = { SLUICE_URL: api.url, SLUICE_TOKEN: "x" };
    const typed = { after: "(not shown)", keys };
    const ran = await onTerminal(`${NODE} ${MAIN} secrets set KEY`, env, typed);
    expect(ran.code, ran.text).toBe(code);
    expect(api.asked.map(({ body }) => body)).toEqual(bodies);
    expect(ran.text).not.toContain("hunter");
  });
});

// biome-ignore lint/suspicious/noControlCharactersInRegex: it reads a terminal's bytes
const PIECES = /\u001b\[(\d+)A|\u001b\[0J|\u001b\[[0-9;]*m|\r?\n|[^\u001b\r\n]+/g;

/** What a terminal would show: lines, cursor up and "clear to the end" are all the progress uses. */
function replay(text: string): string[] {
  const lines = [""];
  let row = 0;
  for (const [piece, up] of text.matchAll(PIECES)) {
    if (up !== undefined) row -= Number(up);
    else if (piece === "\u001b[0J") lines.length = row + 1;
    else if (/\n/.test(piece)) row += 1;
    else if (!piece.startsWith("\u001b")) lines[row] = (lines[row] ?? "") + piece;
    if (piece === "\u001b[0J") lines[row] = "";
    lines[row] ??= "";
  }
  return lines;
}

describe.concurrent("bin.js", () => {
  test("runs on whatever Node is installed, and passes the exit code on", () => {
    const run = spawnSync("node", [BIN, "explain", "nonsense"], {
      encoding: "utf8",
      env: { ...process.env, HOME: tmpdir() },
    });
    expect(run.status).toBe(1);
    expect(run.stderr).toContain("there is no code `nonsense`");
  });
});

describe.skipIf(!hasScript)("setup at a terminal", () => {
  test("asks for the API token, with what it must be allowed, and never shows it", async () => {
    const cloudflare = await startCloudflare({ scripts: [], tokens: { "typed-unseen": "all" } });
    onTestFinished(() => cloudflare.close());
    const { code, text } = await onTerminal(
      `${NODE} ${MAIN} setup --zone example.com --dry-run`,
      { CLOUDFLARE_API_BASE_URL: cloudflare.url },
      { after: "API token (not shown): ", keys: "typed-unseen\n" },
    );
    expect(text).toMatch(/Account › D1 › Edit[\s\S]*permissionGroupKeys=[\s\S]*create {2}D1 database sluice/);
    expect(text).not.toContain("typed-unseen");
    expect(code).toBe(0);
  });

  test.each([
    ["nope", 1, "not confirmed: nothing was changed"],
    ["sluice", 0, "the installation is removed"],
  ])("tears down only when the name is typed: %s", async (typed, exit, words) => {
    const cloudflare = await startCloudflare({ scripts: [] });
    onTestFinished(() => cloudflare.close());
    await newDesk({ cloudflare }).setup();
    const { code, text } = await onTerminal(
      `${NODE} ${MAIN} teardown --zone example.com --force --delete-data`,
      { CLOUDFLARE_API_BASE_URL: cloudflare.url, CLOUDFLARE_API_TOKEN: API_TOKEN },
      { after: "Type sluice to mean it: ", keys: `${typed}\n` },
    );
    expect(text).toContain(words);
    expect(code).toBe(exit);
    expect(cloudflare.state.workers.size).toBe(exit === 0 ? 0 : 2);
  });
});
