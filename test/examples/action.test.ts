import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";

const ROOT = new URL("../../", import.meta.url).pathname;
const action = parse(await readFile(join(ROOT, "action.yml"), "utf8")) as {
  inputs: Record<string, unknown>;
  outputs: Record<string, { value: string }>;
  runs: { steps: { id?: string; run: string; env: Record<string, string> }[] };
};

test("the action takes no input into a script, where it could be a command", () => {
  for (const { run, env } of action.runs.steps) {
    expect(run).not.toContain("${{");
    for (const value of Object.values(env)) {
      if (value.includes("github.action_path")) continue;
      expect(Object.keys(action.inputs)).toContain(/inputs\.([\w-]+)/.exec(value)?.[1]);
    }
  }
  const handed = Object.values(action.runs.steps.at(-1)?.env ?? {}).join();
  for (const name of Object.keys(action.inputs)) expect(handed).toContain(`inputs.${name} }}`);
});

const DONE = {
  outcome: "live",
  url: "https://shop.example.com",
  undo: "sluice rollback",
  release: {
    id: "rel_1",
    version: "v43\nx=1",
    state: "settling",
    app: "shop",
    environment: "production",
    image: "ghcr.io/acme/shop|x",
  },
};

interface Asked {
  readonly call: string;
  readonly body: { state?: string; environment_url?: string; body?: string; auto_merge?: boolean };
}

/** The action's script beside a `sluice` that answers so, and a GitHub that notes what it is asked. */
async function act(
  inputs: Record<string, string>,
  { answer = DONE as object, code = 0, comments = [] as object[], refuses = false } = {},
) {
  const folder = await mkdtemp(join(tmpdir(), "sluice-action-"));
  const at = (name: string) => join(folder, name);
  const asked: Asked[] = [];
  const github = createServer(async (request, response) => {
    let text = "";
    for await (const chunk of request) text += chunk;
    asked.push({ call: `${request.method} ${request.url}`, body: text ? JSON.parse(text) : {} });
    response.writeHead(refuses ? 403 : 200, { "content-type": "application/json" });
    response.end(JSON.stringify(request.url?.includes("/comments?") ? comments : { id: 9 }));
  }).listen(0, "127.0.0.1");
  await once(github, "listening");
  try {
    await writeFile(
      at("sluice"),
      `#!/bin/sh\nprintf '%s\\n' "$@" >"${at("args")}"\nenv >"${at("env")}"\ncat <<'E'\n${JSON.stringify(answer)}\nE\nexit ${code}\n`,
    );
    await chmod(at("sluice"), 0o755);
    await writeFile(at("event"), JSON.stringify({ pull_request: { number: 12 } }));
    for (const name of ["output", "summary"]) await writeFile(at(name), "");
    const child = spawn(process.execPath, [join(ROOT, "action/run.mjs")], {
      cwd: folder,
      env: {
        PATH: `${folder}:/usr/bin:/bin`,
        GITHUB_OUTPUT: at("output"),
        GITHUB_STEP_SUMMARY: at("summary"),
        GITHUB_EVENT_PATH: at("event"),
        GITHUB_API_URL: `http://127.0.0.1:${(github.address() as AddressInfo).port}`,
        GITHUB_SERVER_URL: "https://github.com",
        GITHUB_REPOSITORY: "acme/shop",
        GITHUB_SHA: "abc",
        GITHUB_RUN_ID: "5",
        INPUT_GITHUB_TOKEN: "ghs_x",
        ...Object.fromEntries(Object.entries(inputs).map(([name, value]) => [`INPUT_${name}`, value])),
      },
    });
    let stdout = "";
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
    });
    const [ended] = await once(child, "close");
    const [args, env, output, summary] = await Promise.all(
      ["args", "env", "output", "summary"].map((name) => readFile(at(name), "utf8")),
    );
    return { code: ended, stdout, asked, args: args?.trim().split("\n"), env, output, summary };
  } finally {
    github.close();
    await rm(folder, { recursive: true, force: true });
  }
}

test.concurrent.each([0, 3])(
  "outputs, summary and exit code are the command's (%i), and inputs its words",
  async (code) => {
    const inputs = {
      IMAGE: "ghcr.io/acme/shop:$(touch evil)",
      VERSION: "--hold",
      APP: "shop",
      APPLY: "true",
      DEPLOYMENT: "false",
    };
    const ran = await act(inputs, { code });
    expect(ran.code).toBe(code);
    expect(ran.args).toEqual([
      "deploy",
      "--json",
      "--app=shop",
      "--wait=done",
      "--image=ghcr.io/acme/shop:$(touch evil)",
      "--version=--hold",
      "--apply",
    ]);
    expect(ran.env).not.toContain("ghs_x");
    expect(ran.output?.split("\n")).toEqual([
      "release=rel_1",
      "version=v43 x=1",
      "state=settling",
      "outcome=live",
      "url=https://shop.example.com",
      "",
    ]);
    for (const name of Object.keys(action.outputs)) expect(ran.output).toContain(`${name}=`);
    expect(ran.summary).toContain("| image | ghcr.io/acme/shop&#124;x |");
    expect(ran.asked).toEqual([]);
  },
);

test.concurrent.each<[string, string[], Record<string, string>]>([
  ["ship", ["--env=production", "--wait=done", "--no-apply"], { ENVIRONMENT: "production" }],
  [
    "promote-to",
    ["--wait=done", "--from=staging", "--release=v41", "--", "production"],
    { ENVIRONMENT: "production", FROM: "staging", RELEASE: "v41" },
  ],
  ["rollback", ["--env=production", "--to=v40"], { ENVIRONMENT: "production", RELEASE: "v40" }],
])("`run: %s` is that command", async (run, words, inputs) => {
  const ran = await act({ RUN: run, DEPLOYMENT: "false", ...inputs });
  expect(ran.args).toEqual([run, "--json", ...words]);
});

test.concurrent.each<[number, string, string | undefined]>([
  [0, "live", "success"],
  [0, "superseded", "inactive"],
  [0, "waiting", undefined],
  [2, "failed", "error"],
  [3, "rolled_back", "failure"],
  [4, "failed", "failure"],
  [6, "lost", undefined],
  [130, "interrupted", "error"],
])("a command that ends with %i (%s) leaves GitHub's Deployment at %s", async (code, outcome, state) => {
  const { asked } = await act({ ENVIRONMENT: "production" }, { code, answer: { ...DONE, outcome } });
  expect(asked[0]).toMatchObject({
    call: "POST /repos/acme/shop/deployments",
    body: { auto_merge: false, required_contexts: [] },
  });
  const states = asked.slice(1).map(({ body }) => body.state);
  expect(states).toEqual(["in_progress", ...(state === undefined ? [] : [state])]);
  if (state === "success") expect(asked.at(-1)?.body.environment_url).toBe("https://shop.example.com");
});

test.concurrent("no Deployment is kept of an environment that nobody named", async () => {
  const { asked } = await act({});
  expect(asked).toEqual([]);
});

test.concurrent("a pull request has one comment, which is changed when it is there", async () => {
  const inputs = { COMMENT: "true", DEPLOYMENT: "false" };
  const first = await act(inputs);
  const [, made] = first.asked;
  expect(made?.call).toBe("POST /repos/acme/shop/issues/12/comments");
  const again = await act(inputs, {
    comments: [
      { id: 3, body: "hi" },
      { id: 4, body: made?.body.body },
    ],
  });
  expect(again.asked.map(({ call }) => call)).toContain("PATCH /repos/acme/shop/issues/comments/4");
});

test.concurrent("what GitHub refuses is a warning, and the release's end is the job's", async () => {
  const ran = await act({ COMMENT: "true" }, { refuses: true });
  expect(ran.code).toBe(0);
  expect(ran.stdout).toContain("::warning title=Sluice::no Deployment at GitHub");
  expect(ran.stdout).toContain("deployments: write");
});
