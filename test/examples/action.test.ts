import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
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

test.each([
  ["a challenge", 403, { "cf-mitigated": "challenge" }, "Bot Fight Mode"],
  [
    "Access's login",
    302,
    { location: "https://acme.cloudflareaccess.com/cdn-cgi/access/login/sluice.example.com" },
    "Bypass policy",
  ],
  ["anything else", 404, {}, "answered 404"],
])("the action says of %s in control's place what to set", async (_what, status, headers, said) => {
  const server = createServer((_request, response) => response.writeHead(status, headers).end("<html>"));
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo; // It listens on TCP, so this is one.
  // The stand-in has no certificate.
  const script = action.runs.steps[0]?.run.replace("'=https'", "'=http'") ?? "";
  const env = { PATH: process.env.PATH, SLUICE_URL: `http://127.0.0.1:${port}` };
  const step = spawn("bash", ["--noprofile", "--norc", "-eo", "pipefail", "-c", script], { env });
  let told = "";
  for (const stream of [step.stdout, step.stderr]) stream.on("data", (chunk) => (told += chunk));
  const [code] = await once(step, "close");
  server.close();
  expect(code).toBe(1);
  expect(told).toContain("::error title=Sluice::");
  expect(told).toContain(said);
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
    if (request.url?.includes("/deployments?")) return response.end(JSON.stringify([{ id: 21 }, { id: 22 }]));
    const page = Number(/[?&]page=(\d+)/.exec(request.url ?? "")?.[1] ?? 0);
    const of = comments.slice((page - 1) * 100, page * 100);
    response.end(JSON.stringify(page > 0 ? of : { id: 9 }));
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
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
    });
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    const [ended] = await once(child, "close");
    const [args, env, output, summary] = await Promise.all(
      ["args", "env", "output", "summary"].map((name) => readFile(at(name), "utf8").catch(() => undefined)),
    );
    return { code: ended, stdout, stderr, asked, args: args?.trim().split("\n"), env, output, summary };
  } finally {
    github.close();
    await rm(folder, { recursive: true, force: true });
  }
}

test.concurrent.each([
  [{ RUN: "destroy" }, "run: destroy is none of deploy, ship,"],
  [{ APPLY: "yes" }, "apply: yes is none of true, false"],
  [{ ENVIRONMENT: "production", DEPLOYMENT: "False" }, "deployment: False is none of true, false"],
  [{ RUN: "promote-to", FROM: "staging" }, "run: promote-to needs the input `environment`"],
  [{ RUN: "promote-to", ENVIRONMENT: "production" }, "run: promote-to needs the input `from`"],
  [{ RUN: "preview up" }, "run: preview up needs the input `image`"],
] as const)("an input that can't be meant is said, and nothing is done: %j", async (inputs, words) => {
  const ran = await act(inputs);
  expect(ran.stderr).toContain(words);
  expect([ran.code, ran.asked, ran.args]).toEqual([1, [], undefined]);
});

test.concurrent("a refusal before any release has a summary without one", async () => {
  const ran = await act({ APP: "shop" }, { answer: { title: "usage", detail: "no such flag" }, code: 1 });
  expect(ran.summary).toContain("| outcome | usage |");
  expect(ran.summary).not.toContain("| release |");
});

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

describe.concurrent("of a pull request's preview", () => {
  const inputs = { COMMENT: "true", DEPLOYMENT: "false", APP: "shop", ENVIRONMENT: "production" };
  const preview = { url: "https://pr-12-shop.example.com", expiresAt: "2026-12-01T00:00:00.000Z" };
  const release = { ...DONE.release, environment: "pr-12", git: { sha: "c0ffee", branch: "a|b<!-- x -->" } };
  const opened = {
    command: "preview up",
    outcome: "live",
    url: DONE.url,
    undo: "sluice rollback",
    release,
    preview,
  };
  const UP = { ...inputs, RUN: "preview up", IMAGE: "ghcr.io/acme/shop:pr-12" };
  const DOWN = { ...inputs, RUN: "preview down" };
  const mark = "<!-- sluice shop preview -->";
  const bot = { type: "Bot", login: "github-actions[bot]" };
  const said = ({ asked }: { asked: Asked[] }) => asked.at(-1) as Asked;

  test("the command reads the number from the job's event, and gets image and app as words", async () => {
    const up = await act({ ...UP, VERSION: "v1", WAIT: "approval" }, { answer: opened });
    expect(up.args).toEqual(["preview", "up", "--json", "--app=shop", "--image=ghcr.io/acme/shop:pr-12"]);
    const down = await act(DOWN, {
      answer: { command: "preview down", exitCode: 0, number: 12, ending: null },
    });
    expect(down.args).toEqual(["preview", "down", "--json", "--app=shop"]);
  });

  test("the comment says where it is, until when and of which commit, and no markup of a branch's name", async () => {
    const made = said(await act(UP, { answer: opened }));
    expect(made.call).toBe("POST /repos/acme/shop/issues/12/comments");
    const text = made.body.body ?? "";
    expect(text.startsWith(mark)).toBe(true);
    expect(text).toContain("| preview | https://pr-12-shop.example.com |");
    expect(text).toContain("| stays until | 2026-12-01T00:00:00.000Z |");
    expect(text).toContain("| commit | c0ffee |");
    expect(text).toContain("[log](https://github.com/acme/shop/actions/runs/5)");
    expect(text).not.toContain("undo");
    expect(text.match(/<!--/g)?.length).toBe(1);
  });

  test("the same comment says the next push, a failure and the end", async () => {
    const comments = [{ id: 4, user: bot, body: said(await act(UP, { answer: opened })).body.body }];
    const failed = { ...opened, outcome: "failed", failure: { message: "no slot <b>free</b>" } };
    const refused = { code: "no_slots", title: "no free slot", detail: "0 of 3 hosts" };
    const ends = { command: "preview down", exitCode: 0, number: 12, ending: null };
    const turns: [Record<string, string>, object, number, string][] = [
      [UP, opened, 0, "| outcome | live |"],
      [UP, failed, 3, "| why | no slot &#60;b&#62;free&#60;/b&#62; |"],
      [UP, refused, 2, "| why | 0 of 3 hosts |"],
      [DOWN, ends, 0, "The preview is taken down."],
      [DOWN, { title: "too late", detail: "run 103 was here" }, 2, "| why | run 103 was here |"],
    ];
    for (const [given, answer, code, words] of turns) {
      const ran = await act(given, { answer, code, comments });
      expect(ran.code).toBe(code);
      expect(said(ran).call, words).toBe("PATCH /repos/acme/shop/issues/comments/4");
      expect(said(ran).body.body).toContain(words);
    }
  });

  test("the end of one that nobody was told of says nothing", async () => {
    const { asked } = await act(DOWN, { answer: { command: "preview down", exitCode: 0, ending: null } });
    expect(asked.map(({ call }) => call)).toEqual([
      "GET /repos/acme/shop/issues/12/comments?per_page=100&page=1",
    ]);
  });

  test("a stranger's comment with our mark stays the stranger's, and a colleague's token may have written ours", async () => {
    const by = (id: number, author_association: string) => {
      return { id, body: `${mark} x`, user: { type: "User" }, author_association };
    };
    const theirs = await act(UP, { answer: opened, comments: [by(7, "NONE"), by(8, "CONTRIBUTOR")] });
    expect(said(theirs).call).toBe("POST /repos/acme/shop/issues/12/comments");
    const ours = await act(UP, { answer: opened, comments: [by(7, "NONE"), by(9, "MEMBER")] });
    expect(said(ours).call).toBe("PATCH /repos/acme/shop/issues/comments/9");
  });

  test("it is found behind a hundred others", async () => {
    const others = Array.from({ length: 100 }, (_, id) => ({ id, body: "hi", user: bot }));
    const ran = await act(UP, { answer: opened, comments: [...others, { id: 500, body: mark, user: bot }] });
    expect(said(ran).call).toBe("PATCH /repos/acme/shop/issues/comments/500");
  });

  test("its Deployments at GitHub end with it, and one that can't be taken down keeps them", async () => {
    const given = { ...DOWN, ENVIRONMENT: "pr-12", DEPLOYMENT: "true", COMMENT: "false" };
    const answer = { command: "preview down", exitCode: 0, number: 12, ending: null };
    const { asked } = await act(given, { answer });
    expect(asked.map(({ call, body }) => `${call} ${body.state ?? ""}`)).toEqual([
      "GET /repos/acme/shop/deployments?environment=pr-12&per_page=100 ",
      "POST /repos/acme/shop/deployments/21/statuses inactive",
      "POST /repos/acme/shop/deployments/22/statuses inactive",
    ]);
    expect((await act(given, { answer: {}, code: 2 })).asked).toEqual([]);
  });

  test("a token that may only read, as a fork's job has, changes nothing of the job's end", async () => {
    const ran = await act(UP, { answer: opened, refuses: true });
    expect(ran.code).toBe(0);
    expect(ran.stdout).toContain("::warning title=Sluice::no comment: GET /issues/12/comments");
  });
});

test.concurrent("what GitHub refuses is a warning, and the release's end is the job's", async () => {
  const ran = await act({ COMMENT: "true" }, { refuses: true });
  expect(ran.code).toBe(0);
  expect(ran.stdout).toContain("::warning title=Sluice::no Deployment at GitHub");
  expect(ran.stdout).toContain("deployments: write");
});
