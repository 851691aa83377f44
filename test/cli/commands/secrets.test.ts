import { describe, expect, test } from "vitest";
import type { SetSecretAnswer } from "../../../src/protocol/api/secrets.ts";
import { at, fakeApi, MANIFEST, type Route } from "../../support/cli/fake-api.ts";
import { callCli, type RunOptions, runCli } from "../../support/cli/run-cli.ts";
import { ENV } from "../scenarios.ts";

const answerOf = (over: Partial<SetSecretAnswer["secret"]> = {}, changed = true): SetSecretAnswer => ({
  secret: {
    ...{ name: "DATABASE_URL", isSet: true, version: 1, updatedAt: at(0), updatedBy: "token:ci" },
    ...{ usedBy: ["app"], unreadable: null },
    ...over,
  },
  changed,
});
const taking =
  (answer = answerOf()): Route =>
  (_asked, reply) =>
    reply.json(200, answer);
const PUT = `PUT ${ENV}/secrets/DATABASE_URL`;

const running =
  (cli: typeof callCli) =>
  async (args: string[], routes: Record<string, Route>, options: RunOptions = {}) => {
    await using api = await fakeApi(routes);
    const files = { "sluice.yaml": MANIFEST, ...options.files };
    return { ...(await cli(args, { url: api.url, ...options, files })), asked: api.asked };
  };
const run = running(callCli);
const bodies = (asked: readonly { body: string }[]) => asked.map(({ body }) => JSON.parse(body));

describe.concurrent("secrets set", () => {
  test.each([
    ["hunter2", "hunter2", false],
    ["hunter2\n", "hunter2", true],
    ["hunter2\r\n", "hunter2", true],
    ["two\nlines\n\n", "two\nlines\n", true],
    [" spaces ", " spaces ", false],
  ])("takes stdin as it is, but for one newline at its end: %j", async (stdin, value, cut) => {
    const { code, stdout, stderr, asked } = await run(
      ["secrets", "set", "DATABASE_URL"],
      { [PUT]: taking() },
      { stdin },
    );
    expect(code, stderr).toBe(0);
    expect(bodies(asked)).toEqual([{ value }]);
    expect(stderr.includes("one newline at the end was cut")).toBe(cut);
    expect(stderr).toContain("DATABASE_URL is set (version 1)");
    expect(stdout).toBe("");
  });

  test("reads a pipe to its end", async () => {
    const stdin = "x".repeat(1024 * 1024);
    const { code, asked } = await running(runCli)(
      ["secrets", "set", "DATABASE_URL"],
      { [PUT]: taking() },
      { stdin },
    );
    expect(code).toBe(0);
    expect(bodies(asked)).toEqual([{ value: stdin }]);
  });

  test.each([
    [["DATABASE_URL=hunter2"], "sluice secrets set DATABASE_URL"],
    [["DATABASE_URL", "hunter2"], "sluice secrets set DATABASE_URL"],
    [["$(hunter2)=x", "y"], "sluice secrets set NAME"],
  ])("refuses a value as an argument with the reason, and does not repeat it: %j", async (args, next) => {
    const { code, stdout, stderr, asked } = await run(["secrets", "set", ...args], {}, { stdin: "x" });
    expect(code).toBe(1);
    expect(asked).toEqual([]);
    expect(stderr).toContain("a value is never an argument");
    expect(stderr).toContain(next);
    expect(stdout + stderr).not.toContain("hunter2");
  });

  test.each([
    ["", "stdin had nothing in it"],
    ["\n", "stdin had nothing in it"],
    [new Uint8Array([0xff, 0xfe]), "not UTF-8"],
    ["x".repeat(1024 * 1024 + 1), "larger than 1 MiB"],
  ])("without a value it changes nothing and says what to do (%#)", async (stdin, words) => {
    const { code, stderr, asked } = await run(["secrets", "set", "DATABASE_URL"], {}, { stdin });
    expect(code).toBe(1);
    expect(asked).toEqual([]);
    expect(stderr).toContain(words);
  });

  test("an empty stdin is told how to pipe", async () => {
    const { stdout } = await run(["secrets", "set", "DATABASE_URL", "--json"], {});
    expect(JSON.parse(stdout)).toMatchObject({
      ...{ code: "value_required", exitCode: 1 },
      next: [
        { command: 'printf %s "$DATABASE_URL" | sluice secrets set DATABASE_URL -a shop -e production' },
      ],
    });
  });

  test("says when nothing changed, when nobody gets it, and when somebody still runs the old one", async () => {
    const of = async (answer: SetSecretAnswer) =>
      (await run(["secrets", "set", "DATABASE_URL"], { [PUT]: taking(answer) }, { stdin: "x" })).stderr;
    expect(await of(answerOf({ version: 2 }, false))).toBe(
      "DATABASE_URL has that value already (version 2)\n",
    );
    expect(await of(answerOf({ usedBy: [] }))).toContain(
      "nobody gets DATABASE_URL yet: name it under `secrets:`",
    );
    expect(await of(answerOf({ version: 2 }))).toContain("sluice status -a shop -e production");
  });

  test("--from takes a whole dotenv file, and sends nothing of one that has a fault", async () => {
    const env = "# ours\nDATABASE_URL='a b' # tail\nexport KEY=\"l1\nl2\"\n";
    const routes = { [PUT]: taking(), [`PUT ${ENV}/secrets/KEY`]: taking(answerOf({ name: "KEY" })) };
    const good = await run(["secrets", "set", "--from", ".env"], routes, { files: { ".env": env } });
    expect(good.code, good.stderr).toBe(0);
    expect(bodies(good.asked)).toEqual([{ value: "a b" }, { value: "l1\nl2" }]);
    const piped = await run(["secrets", "set", "--from", "-", "--json"], routes, { stdin: env });
    expect(JSON.parse(piped.stdout).secrets).toHaveLength(2);
    for (const [text, words] of [
      ["KEY=x\nDATABASE_URL=\n", "DATABASE_URL: no value in .env"],
      ["KEY=x\nPORT=1\n", "`PORT` is a variable that Sluice sets itself"],
      ["\n", "no NAME=value line"],
    ] as const) {
      const bad = await run(["secrets", "set", "--from", ".env"], routes, { files: { ".env": text } });
      expect(bad.code).toBe(1);
      expect(bad.stderr).toContain(words);
      expect(bad.asked).toEqual([]);
    }
  });
});

describe.concurrent("secrets list, rm and rotate-key", () => {
  test("list shows what is missing and what can't be opened, with --json the same", async () => {
    const missing = { name: "KEY", isSet: false, version: null, updatedAt: null, updatedBy: null };
    const items = [answerOf({ unreadable: "sealed under k0" }).secret, answerOf(missing).secret];
    const route = { [`GET ${ENV}/secrets`]: ((_a, reply) => reply.json(200, { items })) satisfies Route };
    const { stdout, stderr, code } = await run(["secrets"], route);
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^NAME +VERSION +SET +BY +USED BY\nDATABASE_URL +1 .*\nKEY +- +NOT SET +- +app\n$/,
    );
    expect(stderr).toBe("1 secret to be set before the next release\n✖ DATABASE_URL: sealed under k0\n");
    expect(JSON.parse((await run(["secrets", "list", "--json"], route)).stdout)).toMatchObject({ items });
  });

  test("rm asks first, and without a terminal wants --yes", async () => {
    const route = { [`DELETE ${ENV}/secrets/KEY`]: ((_a, reply) => reply.empty(204)) satisfies Route };
    expect(await run(["secrets", "rm", "KEY"], route)).toMatchObject({ code: 1, asked: [] });
    expect(await run(["secrets", "rm", "KEY", "--yes"], route)).toMatchObject({
      code: 0,
      stderr: "KEY is removed\n",
    });
  });

  const POST = "POST /api/v1/secrets/reseal";
  const state = { keyId: "k2", beforeKeyId: "k1", resealed: 0, left: 0, unreadable: [] };

  test("rotate-key goes on until nothing is left, and says what may go then", async () => {
    const { code, stderr, asked } = await run(["secrets", "rotate-key"], {
      [POST]: (_a, reply, nth) =>
        reply.json(200, { ...state, resealed: nth === 1 ? 100 : 7, left: nth === 1 ? 7 : 0 }),
    });
    expect(code).toBe(0);
    expect(asked).toHaveLength(2);
    expect(stderr).toContain("107 values sealed anew under k2; nothing is under k1 any more");
    expect(stderr).toContain("wrangler secret delete SECRETS_KEY_BEFORE");
  });

  test("rotate-key with one key says how to begin", async () => {
    const { code, stderr } = await run(["secrets", "rotate-key"], {
      [POST]: (_a, reply) => reply.json(200, { ...state, beforeKeyId: null }),
    });
    expect(code).toBe(0);
    expect(stderr).toMatch(/SECRETS_KEY_BEFORE +the present key: k2:…\n.*SECRETS_KEY +a new one/);
  });

  test("rotate-key does not go round for ever over what no key opens, and exits 2", async () => {
    const lost = { kind: "secret", app: "shop", environment: "production", name: "KEY", reason: "no key" };
    const { code, stderr, asked } = await run(["secrets", "rotate-key"], {
      [POST]: (_a, reply) => reply.json(200, { ...state, left: 1, unreadable: [lost] }),
    });
    expect(code).toBe(2);
    expect(asked).toHaveLength(1);
    expect(stderr).toContain("✖ secret KEY of shop/production: no key");
  });
});

describe.concurrent("registry", () => {
  const login = {
    registry: "ghcr.io",
    username: "bot",
    updatedAt: at(0),
    updatedBy: "admin",
    unreadable: null,
  };
  const path = "/api/v1/apps/shop/registries";

  test("set sends what is piped as the password, and shows it nowhere", async () => {
    const { code, stdout, stderr, asked } = await run(
      ["registry", "set", "ghcr.io", "--username", "bot"],
      { [`PUT ${path}/ghcr.io`]: (_a, reply) => reply.json(200, login) },
      { stdin: "hunter2\n" },
    );
    expect(code, stderr).toBe(0);
    expect(bodies(asked)).toEqual([{ username: "bot", password: "hunter2" }]);
    expect(stderr).toContain("shop pulls from ghcr.io as bot from now on");
    expect(stdout + stderr).not.toContain("hunter2");
  });

  test("list and rm", async () => {
    const routes: Record<string, Route> = {
      [`GET ${path}`]: (_a, reply) => reply.json(200, { items: [login] }),
      [`DELETE ${path}/127.0.0.1%3A5000`]: (_a, reply) => reply.empty(204),
    };
    expect((await run(["registry"], routes)).stdout).toMatch(/REGISTRY +USERNAME.*\nghcr.io +bot/);
    expect(await run(["registry", "rm", "127.0.0.1:5000", "-y"], routes)).toMatchObject({ code: 0 });
  });
});
