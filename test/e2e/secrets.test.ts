import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ask } from "../support/http-client.ts";
import { type AppOptions, Installation } from "../support/stack/installation.ts";

/** A secret's way: typed in, sealed, handed to the agent, there in the app; and what is said once it was changed. */
const APP = "vault";
const OLD = "postgres://shop:hunter2@db/shop";
const NEW = "postgres://shop:correct-horse@db/shop";
const answers = "JSON.stringify({ url: process.env.DATABASE_URL, plain: process.env.PLAIN })";
/** Like an app that connects when it is asked something: it starts with any address, and answers 500 with a wrong one, which it logs. */
const server = `require("node:http").createServer(({ url, headers }, response) => {
  const isBad = url !== "/health" && process.env.DATABASE_URL.includes("nowhere");
  if (isBad) console.error(headers["x-request-id"] + ": can't reach " + process.env.DATABASE_URL);
  response.writeHead(isBad ? 500 : 200).end(${answers});
}).listen(process.env.PORT)`;
const migrates = 'if (!process.env.DATABASE_URL) throw new Error("no DATABASE_URL")';
const OPTIONS: AppOptions = {
  command: ["node", "-e", server],
  env: { PLAIN: "yes" },
  secrets: ["DATABASE_URL"],
  hooks: { expand: ["node", "-e", migrates] },
  replicas: 2,
};
let sluice: Installation;

beforeAll(async () => {
  sluice = await Installation.start({ hosts: 1, isSwept: true });
});
afterAll(() => sluice?.close());

const run = (args: string[], stdin?: string) => sluice.sluice(APP, OPTIONS, args, stdin);
const visit = async (): Promise<unknown> => {
  const port = Number(new URL(sluice.edgeUrl).port);
  return JSON.parse((await ask({ port, host: `${APP}.localhost` })).text);
};

test("a deploy without it is refused before anything moves, and says which command sets it", async () => {
  const ran = await run(["deploy", "--apply", "--version", "v1"]);
  expect(ran.code).toBe(2);
  expect(ran.stderr).toContain("sluice secrets set DATABASE_URL -a vault -e production");
  const plan = await run(["plan"]);
  expect(plan.code).toBe(2);
  expect(plan.stdout).toContain("✖ secrets_missing: DATABASE_URL has no value in vault/production");
});

test("set from stdin, it reaches the hook and the app, and nothing else shows it", async () => {
  const ran = await run(["secrets", "set", "DATABASE_URL"], `${OLD}\n`);
  expect(ran).toMatchObject({ code: 0, stdout: "" });
  expect(ran.stderr).toContain("one newline at the end was cut\nDATABASE_URL is set (version 1)");
  const deployed = await run(["deploy", "--version", "v1"]);
  expect(deployed.code, deployed.stderr).toBe(0);
  expect(await visit()).toEqual({ url: OLD, plain: "yes" });
  const shown = [ran, deployed, await run(["status"]), await run(["secrets", "list"]), await run(["audit"])];
  expect(shown.map(({ code }) => code)).toEqual([0, 0, 0, 0, 0]);
  expect(JSON.stringify(shown)).not.toContain("hunter2");
});

test("changed, it is said who still runs the old one; the command that is said hands the new one out", async () => {
  expect((await run(["secrets", "set", "DATABASE_URL"], NEW)).code).toBe(0);
  const before = await run(["status"]);
  expect(before.stdout).toMatch(
    /secrets +2 instances still run the old DATABASE_URL \(set \d+ s ago\): deploy again/,
  );
  expect(await visit()).toMatchObject({ url: OLD });
  const [, command] = /^ {4}sluice (deploy .*?) {2}\(to hand out/m.exec(before.stdout) ?? [];
  expect(command, before.stdout).toBeDefined();
  const again = await run([...(command ?? "").split(" "), "--version", "v2"]);
  expect(again.code, again.stderr).toBe(0);
  // An edge may be this far behind.
  await expect.poll(visit, { timeout: 90_000, interval: 50 }).toMatchObject({ url: NEW });
  expect((await run(["status"])).stdout).not.toContain("still run");
  const left = async () => (await run(["status"])).stdout.includes("DATABASE_URL");
  await expect.poll(left, { timeout: 90_000, interval: 200 }).toBe(false);
});

test("a bad one is taken back as a bad release is, before a visitor sees an error; what serves goes on with the one before", async () => {
  const canary = { steps: [{ weight: 25, bake: "5m" }, { weight: 100 }] };
  const options: AppOptions = { ...OPTIONS, ready: "/health", strategy: { canary } };
  expect((await run(["secrets", "set", "DATABASE_URL"], "postgres://nowhere/shop")).code).toBe(0);
  const port = Number(new URL(sluice.edgeUrl).port);
  const seen: number[] = [];
  const visitors = setInterval(() => {
    void ask({ port, host: `${APP}.localhost` }).then((answer) => seen.push(answer.status));
  }, 50);
  const deployed = await sluice.sluice(APP, options, ["deploy", "--current", "--apply", "--json"]);
  clearInterval(visitors);
  expect(deployed.code, deployed.stderr).toBe(3);
  const { release } = JSON.parse(deployed.stdout);
  expect(release).toMatchObject({ state: "rolled_back", failure: { code: "analysis_failed" } });
  // From its first visitor on: 9 s on a quiet machine.
  expect(release.timings.shifting).toBeLessThanOrEqual(20_000);
  expect(seen.length).toBeGreaterThan(40);
  expect(seen.filter((each) => each !== 200)).toEqual([]);
  // What the app wrote of a request that failed, without the secret.
  const { stdout: judged } = await run(["verdicts", release.id]);
  expect(judged).toMatch(
    / {2}request (\S+) failed: GET \/ on \S+; the app's lines of it:\n {4}\| \1: can't reach \S+$/m,
  );
  expect(judged).not.toContain("nowhere");
  expect(await visit()).toMatchObject({ url: NEW });
});

describe("a pull request's preview", () => {
  const PREVIEWS = { hostname: "pr-{number}-vault.localhost", ttl: "10m", secrets: ["DATABASE_URL"] };
  const ALIKE = { ...OPTIONS, ready: "/health", previews: { ...PREVIEWS, env: { PLAIN: "{hostname}" } } };
  const OF_PREVIEWS = "postgres://preview:let-me-in@db/preview";
  const preview = async (...args: string[]) => {
    const ran = await sluice.sluice(APP, ALIKE, ["preview", ...args, "--json"]);
    expect(ran.code, ran.stderr).toBe(0);
    return JSON.parse(ran.stdout);
  };
  const up = (number: number) => preview("up", "--pr", String(number), "--image", "file:hello");
  const answered = async (number: number) => {
    const port = Number(new URL(sluice.edgeUrl).port);
    const { status, text } = await ask({ port, host: `pr-${number}-vault.localhost` });
    return status === 404 ? status : JSON.parse(text);
  };

  /** Nothing of it is left: no environment, no process, no hostname, and no slot that it could be reached by. */
  const isGone = async (number: number, instances: readonly string[]) => {
    await expect.poll(async () => (await preview("list")).items, { timeout: 60_000 }).toEqual([]);
    await expect.poll(() => answered(number), { timeout: 60_000 }).toBe(404);
    const running = await sluice.running();
    expect(instances.filter((id) => running.has(id))).toEqual([]);
    const { items } = await sluice.client.apps.list();
    expect(JSON.stringify(items)).not.toContain(`pr-${number}`);
  };

  beforeAll(async () => {
    const applied = await sluice.sluice(APP, ALIKE, ["apply"]);
    expect(applied.code, applied.stderr).toBe(0);
    const set = await run(["secrets", "set", "DATABASE_URL", "--previews"], OF_PREVIEWS);
    expect(set.code, set.stderr).toBe(0);
  });

  test("answers on its own name with the release and the secret of previews, and is gone when it is closed", async () => {
    const opened = await up(12);
    expect(opened).toMatchObject({ outcome: "live", preview: { number: 12, environment: "pr-12" } });
    expect(await answered(12)).toEqual({ url: OF_PREVIEWS, plain: "pr-12-vault.localhost" });
    expect(await visit()).toMatchObject({ url: NEW });
    const instances = opened.release.instances.map(({ id }: { id: string }) => id);
    expect(instances).toHaveLength(1);
    await preview("down", "--pr", "12");
    await isGone(12, instances);
    // Asked for again while or after it goes, it is made anew.
    const again = await up(12);
    expect(again.release.id).not.toBe(opened.release.id);
    await preview("down", "--pr", "12");
    await preview("down", "--pr", "12");
  });

  test("goes by itself when its time is over, and not before", async () => {
    const { release, preview: opened } = await up(13);
    const ends = Date.parse(opened.expiresAt);
    const sweep = (at: number) => fetch(`${sluice.controlUrl}/sweep?at=${at}`);
    await sweep(ends - 1_000);
    expect(await answered(13)).toMatchObject({ url: OF_PREVIEWS });
    await sweep(ends + 1);
    await isGone(
      13,
      release.instances.map(({ id }: { id: string }) => id),
    );
    expect(await visit()).toMatchObject({ url: NEW });
    // Production's two: what the previews had, rests, and is free again after a while.
    expect((await sluice.client.hosts.get("web-1")).slots.used).toBe(2);
  });
});

test("control's state on disk has neither value in it", async () => {
  const { stateDir } = sluice.home;
  const entries = await readdir(stateDir, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const contents = await Promise.all(files.map((file) => readFile(join(file.parentPath, file.name))));
  const holding = (text: string) =>
    files.filter((_, i) => contents[i]?.includes(text)).map(({ name }) => name);
  // The name is there, so what is looked through is what was written.
  expect(holding("DATABASE_URL").length).toBeGreaterThan(0);
  expect([
    ...holding("hunter2"),
    ...holding("correct-horse"),
    ...holding("//nowhere"),
    ...holding("let-me-in"),
  ]).toEqual([]);
});
