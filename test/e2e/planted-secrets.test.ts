import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect } from "vitest";
import { z } from "zod";
import { baseImage, removeImages, variantImage } from "../../local/images.ts";
import { dockerTest, engine, theEngine } from "../support/engine/docker.ts";
import { type AppOptions, Installation } from "../support/stack/installation.ts";

/** An app that says its secrets wherever it can; they are searched for wherever anything is kept or told. */
const APP = "leaky";
const IMAGE = `sluice-e2e-${process.pid}:leaky`;
const SECRETS = {
  DATABASE_URL: "postgres://shop:Pl4nted-in-url@db/shop",
  API_KEY: "Pl4nted/key+with?odd&characters=",
  SIGNING_KEY: "-----BEGIN KEY-----\nPl4nted0first0line00\nPl4nted0second0line0\n-----END KEY-----",
};
/** Each form of each, cut so short that a piece of it is found, too. */
const FORMS = [
  "Pl4nted",
  encodeURIComponent("Pl4nted/key"),
  ...Object.values(SECRETS).map((value) => Buffer.from(value).toString("base64").slice(0, 24)),
  ...[1, 2].map((n) =>
    Buffer.from("x".repeat(n) + SECRETS.API_KEY)
      .toString("base64")
      .slice(4, 24),
  ),
];
const SAYS = `
  for (const name of ${JSON.stringify(Object.keys(SECRETS))}) {
    const value = process.env[name], bytes = Buffer.from("user:" + value);
    console.log(name, value); console.error(name, bytes.toString("base64"), encodeURIComponent(value));
    console.log("x".repeat(990) + value.replaceAll("\\n", " ")); console.log(JSON.stringify({ [name]: value }));
  }`;
const serves = (status: number) => `${SAYS}
  const all = ${JSON.stringify(Object.keys(SECRETS))}.map((name) => process.env[name]).join(" ");
  require("node:http").createServer((q, r) => { console.log("asked", q.url, process.env.API_KEY);
    r.statusCode = ${status}; r.end(q.url === "/ready" ? "x".repeat(150) + all : "ok"); }).listen(process.env.PORT);`;
const node = (script: string) => ["node", "-e", script];

const options: AppOptions = {
  image: IMAGE,
  replicas: 1,
  secrets: Object.keys(SECRETS),
  command: node(serves(200)),
  hooks: { expand: node(SAYS) },
  deadline: "2s",
};
let sluice: Installation;
const told: string[] = [];

beforeAll(async () => {
  if (!engine) return;
  await variantImage(engine, { from: await baseImage(engine), tag: IMAGE });
  sluice = await Installation.start({ hosts: 1, runtime: "docker" });
});
afterAll(async () => {
  await sluice?.close();
  if (engine) await removeImages(engine, [IMAGE]);
});

async function run(over: AppOptions, args: string[], stdin?: string) {
  const ran = await sluice.sluice(APP, { ...options, ...over }, args, stdin);
  told.push(ran.stdout, ran.stderr);
  return ran;
}
const found = (text: string) => FORMS.filter((form) => text.includes(form));

dockerTest("an app says its secrets in its log, its hook, its last words and its answers", async () => {
  expect((await run({}, ["apply"])).code).toBe(0);
  for (const [name, value] of Object.entries(SECRETS))
    expect((await run({}, ["secrets", "set", name], value)).code).toBe(0);
  expect((await run({}, ["deploy", "--version", "good"])).code).toBe(0);
  const dies = { command: node(`${SAYS}; process.exit(3)`) };
  const bad = await run(dies, ["deploy", "--apply", "--version", "dies"]);
  expect(bad.code).toBe(3);
  expect(bad.stderr).toContain("API_KEY ***");
  const sick = await run({ command: node(serves(503)) }, ["deploy", "--apply", "--version", "sick"]);
  expect(sick.stderr).toContain("answered 503");
  const hook = { hooks: { expand: node(`${SAYS}; process.exit(4)`) } };
  expect((await run(hook, ["deploy", "--apply", "--version", "hook"])).stderr).toContain(
    "exited with code 4",
  );
});

dockerTest("no command, answer or stream tells one, to whomever", async () => {
  const logs = await run({}, ["logs", "--since", "1h", "--json=stream"]);
  expect(logs.stdout).toContain("API_KEY ***");
  for (const args of [
    ["status"],
    ["releases"],
    ["audit"],
    ["secrets", "list"],
    ["plan"],
    ["status", "--json"],
  ])
    await run({}, args);
  const { items } = await sluice.client.releases.list(APP, "production");
  const paths = items.flatMap(({ id }) => [`releases/${id}`, `releases/${id}/events`]);
  for (const path of [`apps/${APP}/envs/production`, `apps/${APP}/envs/production/logs?since=1h`, ...paths]) {
    const headers = {
      authorization: `Bearer ${sluice.home.token}`,
      accept: "text/event-stream, application/json",
    };
    const signal = AbortSignal.timeout(2_000);
    const answer = await fetch(`${sluice.controlUrl}/api/v1/${path}`, { headers, signal });
    try {
      for await (const chunk of answer.body ?? []) told.push(Buffer.from(chunk).toString("utf8"));
    } catch {
      // A stream that stays open: what it said so far is looked at.
    }
  }
  const text = told.join("");
  expect(text.length).toBeGreaterThan(10_000);
  expect(found(text)).toEqual([]);
});

/** Every route that reads, as the API describes itself, for everything that there is to put into its path. */
async function everyPath(): Promise<string[]> {
  const described = z.object({ paths: z.record(z.string(), z.record(z.string(), z.unknown())) });
  const { paths } = described.parse(await (await fetch(`${sluice.controlUrl}/api/openapi.json`)).json());
  const { items } = await sluice.client.releases.list(APP, "production");
  const hosts = await sluice.client.hosts.list();
  const known: Record<string, string[]> = {
    ...{
      app: [APP],
      env: ["production"],
      host: hosts.items.map(({ name }) => name),
      name: Object.keys(SECRETS),
    },
    id: items.map(({ id }) => id),
  };
  return Object.entries(paths)
    .filter(([path, methods]) => "get" in methods && !path.startsWith("/agent/"))
    .flatMap(([path]) => {
      const filled = (rest: string): string[] => {
        const [whole, name = ""] = /\{(\w+)\}/.exec(rest) ?? [];
        if (whole === undefined) return [rest];
        return (known[name] ?? ["x"]).flatMap((value) => filled(rest.replace(whole, value)));
      };
      return filled(path);
    });
}

async function read(path: string, token: string): Promise<{ status: number; text: string }> {
  const headers = { authorization: `Bearer ${token}`, accept: "text/event-stream, application/json" };
  const enough = new AbortController();
  const answer = await fetch(`${sluice.controlUrl}${path}`, { headers, signal: enough.signal });
  // Two seconds of a stream; of a busy control's head as long as it takes.
  const timer = setTimeout(() => enough.abort(), 2_000);
  let text = JSON.stringify([...answer.headers]);
  try {
    for await (const chunk of answer.body ?? []) text += Buffer.from(chunk).toString("utf8");
  } catch {
    // A stream that stays open: what it said so far is looked at.
  } finally {
    clearTimeout(timer);
  }
  return { status: answer.status, text };
}

dockerTest("no route that reads tells one, to an administrator or a viewer", async () => {
  const viewer = await sluice.client.tokens.create({ name: "looks", role: "viewer" });
  const paths = await everyPath();
  expect(paths.length).toBeGreaterThan(20);
  const reads = paths.flatMap((path) =>
    [sluice.home.token, viewer.token].map(async (token) => ({ path, ...(await read(path, token)) })),
  );
  const answers = await Promise.all(reads);
  expect(answers.filter(({ status }) => status >= 500)).toEqual([]);
  expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThan(paths.length);
  expect(answers.filter(({ text }) => found(text).length > 0).map(({ path }) => path)).toEqual([]);
});

dockerTest("no table, journal or other file of control and its agent has one", async () => {
  const { dir } = sluice.home;
  const inside = (place: string) => readdir(place, { recursive: true, withFileTypes: true });
  // What control, edge and agent wrote to their own output is there, too.
  const entries = (await Promise.all([dir, sluice.logs].map(inside))).flat().filter((one) => one.isFile());
  const files = entries.map(({ parentPath, name }) => join(parentPath, name));
  const texts = await Promise.all(files.map((file) => readFile(file, "latin1")));
  expect(texts.some((text) => text.includes("API_KEY"))).toBe(true);
  for (const name of ["journal.json", ".log", ".sqlite"])
    expect(files.filter((file) => file.endsWith(name))).not.toEqual([]);
  expect(files.filter((_, n) => found(texts[n] ?? "").length > 0)).toEqual([]);
});

dockerTest("no process has one among its arguments, and no container outside its variables", async () => {
  const ids = z.array(z.object({ Id: z.string() }));
  const filters = JSON.stringify({ label: [`sluice.app=${APP}`] });
  const rows = await theEngine().json(ids, "GET", "/containers/json", { query: { all: "1", filters } });
  expect(rows.length).toBeGreaterThan(0);
  for (const { Id } of rows) {
    const made = JSON.parse((await theEngine().bytes("GET", `/containers/${Id}/json`)).toString("utf8"));
    expect(found(JSON.stringify(made.Config.Env))).not.toEqual([]);
    delete made.Config.Env;
    expect(found(JSON.stringify(made))).toEqual([]);
  }
  const { stdout } = await promisify(execFile)("ps", ["-eo", "args", "-ww"], { maxBuffer: 1 << 26 });
  // This test has them in its own memory, and nobody in arguments.
  expect(found(stdout)).toEqual([]);
});
