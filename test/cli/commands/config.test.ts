import { execFile } from "node:child_process";
import { chmod, chown, mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadConfig } from "../../../cli/config.ts";
import { fakeApi, MANIFEST } from "../../support/cli/fake-api.ts";
import { callCli } from "../../support/cli/run-cli.ts";
import { goodDeploy } from "../scenarios.ts";

let root: string;
const local = { url: "http://127.0.0.1:8787", token: "slu_local", edge: "http://127.0.0.1:8080" };

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "sluice-config-"));
  await mkdir(join(root, "project/.sluice"), { recursive: true });
  await mkdir(join(root, "project/deep/er"), { recursive: true });
  await mkdir(join(root, "home/.config/sluice"), { recursive: true });
  await mkdir(join(root, "elsewhere"));
  await mkdir(join(root, "broken/.sluice"), { recursive: true });
  await writeFile(join(root, "project/.sluice/cli.json"), JSON.stringify(local), { mode: 0o600 });
  await writeFile(
    join(root, "home/.config/sluice/cli.json"),
    JSON.stringify({ url: "https://far.example.com", token: "slu_far" }),
  );
  await writeFile(join(root, "broken/.sluice/cli.json"), '{"url": "nonsense"}', { mode: 0o600 });
});
afterAll(() => rm(root, { recursive: true }));

const load = (over: Partial<Parameters<typeof loadConfig>[0]>) =>
  loadConfig({ flags: {}, env: { HOME: join(root, "home") }, cwd: join(root, "elsewhere"), ...over });

describe("address and token come from", () => {
  test("the flags before the environment", () => {
    const env = { SLUICE_URL: "https://env.example.com", SLUICE_TOKEN: "slu_env" };
    expect(load({ flags: { url: "https://flag.example.com" }, env })).toMatchObject({
      url: "https://flag.example.com",
      token: "slu_env",
    });
    expect(load({ env })).toMatchObject({ url: "https://env.example.com", token: "slu_env" });
  });

  test("the nearest .sluice/cli.json above the working directory", () => {
    expect(load({ cwd: join(root, "project/deep/er") })).toEqual(local);
  });

  test("the same file says where the local edge serves the hostnames", async () => {
    await using api = await fakeApi(goodDeploy());
    const { stdout } = await callCli(["deploy", "-a", "shop"], {
      files: { ".sluice/cli.json": JSON.stringify({ ...local, url: api.url }) },
    });
    expect(stdout).toBe("http://shop.example.com:8080\n");
  });

  test("the home directory's, else", () => {
    expect(load({})).toMatchObject({ url: "https://far.example.com", token: "slu_far" });
  });
});

describe("a token is never sent where it doesn't belong", () => {
  test("another address doesn't get the file's token", () => {
    const call = () => load({ flags: { url: "https://evil.example.com" }, cwd: join(root, "project") });
    expect(call).toThrow(/no token for https:\/\/evil\.example\.com/);
  });

  test.each(["project", "elsewhere"])("one from the environment goes to no file's address (%s)", (place) => {
    const env = { HOME: join(root, "home"), SLUICE_TOKEN: "slu_env" };
    const call = () => load({ env, cwd: join(root, place) });
    expect(call).toThrow(/SLUICE_TOKEN is set, and no address with it/);
    expect(() => load({ flags: { token: "slu_flag" }, cwd: join(root, place) })).toThrow(/--token is set/);
    expect(load({ env: { ...env, SLUICE_URL: local.url }, cwd: join(root, place) })).toMatchObject({
      url: local.url,
      token: "slu_env",
    });
  });

  test("a checkout's server is asked nothing, whatever token there is", async () => {
    await using api = await fakeApi(goodDeploy());
    const config = JSON.stringify({ ...local, url: api.url });
    const env = { SLUICE_TOKEN: "slu_env" };
    for (const args of [
      ["status", "-a", "shop"],
      ["secrets", "set", "-a", "shop", "--from", "x"],
    ]) {
      const { code, stderr } = await callCli(args, {
        env,
        files: { ".sluice/cli.json": config, x: "A=hunter2\n" },
      });
      expect(code).toBe(1);
      expect(stderr).toContain("SLUICE_TOKEN is set, and no address with it");
    }
    expect(api.asked).toEqual([]);
  });

  test("nobody gets one over plain http, wherever the address was written", async () => {
    const env = { HOME: join(root, "home"), SLUICE_URL: "http://far.example.com", SLUICE_TOKEN: "slu_env" };
    expect(() => load({ env })).toThrow("http://far.example.com is plain http");
    const cwd = await mkdtemp(join(root, "plain-"));
    await mkdir(join(cwd, ".sluice"));
    const plain = { ...local, url: "http://far.example.com" };
    await writeFile(join(cwd, ".sluice", "cli.json"), JSON.stringify(plain), { mode: 0o600 });
    expect(() => load({ cwd })).toThrow("http://far.example.com is plain http");
  });

  test("the same address by flag does", () => {
    const flags = { url: "http://127.0.0.1:8787/" };
    expect(load({ flags, cwd: join(root, "project") })).toMatchObject({ token: "slu_local" });
  });
});

describe("a near file is gone by only when it is the user's own", () => {
  const near = join(".sluice", "cli.json");
  async function withFile(mode: number): Promise<{ cwd: string; file: string }> {
    const cwd = await mkdtemp(join(root, "near-"));
    await mkdir(join(cwd, ".sluice"));
    await writeFile(join(cwd, near), JSON.stringify({ ...local, url: "https://attacker.example.com" }));
    await chmod(join(cwd, near), mode);
    return { cwd, file: join(cwd, near) };
  }

  test.each([0o644, 0o640, 0o660, 0o606, 0o666, 0o700, 0o755])("not with mode %o", async (mode) => {
    const { cwd, file } = await withFile(mode);
    expect(() => load({ cwd })).toThrow(`${file} can be read by others than you`);
    // Nor does it hide where the apps are served, for a command that was told its control plane.
    const flags = { url: "https://attacker.example.com", token: "slu_flag" };
    expect(load({ cwd, flags })).toEqual(flags);
  });

  test("but with 600 or less", async () => {
    for (const mode of [0o600, 0o400])
      expect(load(await withFile(mode))).toMatchObject({ token: "slu_local" });
  });

  test.runIf(process.getuid?.() === 0)("not when it is somebody else's", async () => {
    const { cwd, file } = await withFile(0o600);
    await chown(file, 65_534, 65_534);
    expect(() => load({ cwd })).toThrow("belongs to user 65534, not to you");
  });

  test("not when it is a link", async () => {
    const { cwd, file } = await withFile(0o600);
    await rename(file, `${file}.real`);
    await symlink(`${file}.real`, file);
    expect(() => load({ cwd })).toThrow("is no plain file");
  });

  test("not when a clone brought it, however private the clone made it", async () => {
    const { cwd } = await withFile(0o600);
    const git = (...args: string[]) => promisify(execFile)("git", args, { cwd });
    await git("init", "--quiet");
    expect(load({ cwd })).toMatchObject({ token: "slu_local" });
    await git("add", "--force", near);
    expect(() => load({ cwd })).toThrow("came with the repository");
    await mkdir(join(cwd, "deep"));
    expect(() => load({ cwd: join(cwd, "deep") })).toThrow("came with the repository");
  });
});

describe("what can't be used is named", () => {
  test("a broken file", () => {
    expect(() => load({ cwd: join(root, "broken") })).toThrow(/broken\/\.sluice\/cli\.json is not usable/);
  });

  test("an address without http", () => {
    const env = { SLUICE_URL: "sluice.example.com", SLUICE_TOKEN: "x" };
    expect(() => load({ env })).toThrow(/`sluice\.example\.com` is not an http\(s\) URL/);
  });

  test.each([
    [
      ["deploy", "--token", "slu_secret"],
      ["sluice deploy -a <app>", "sluice deploy -f <file>"],
    ],
    [
      ["run", "--", "echo", "a b"],
      ["sluice run -a <app> -- echo 'a b'", "sluice run -f <file> -- echo 'a b'"],
    ],
    [["promote-to", "x", "--from", "y"], ["sluice promote-to x --from y -a <app>"]],
    [["trust", "add", "github", "acme/shop"], ["sluice trust add github acme/shop -a <app>"]],
    [["ship"], ["sluice ship -f <file>"]],
  ])("a missing manifest, with the ways out: %j", async (args, ways) => {
    await using api = await fakeApi({});
    const { code, stderr } = await callCli(args, { url: api.url });
    expect(code).toBe(1);
    for (const way of ways) expect(stderr).toContain(`    ${way}  `);
    expect(stderr).not.toContain("slu_secret");
  });

  test("another app's manifest, where an image is to be built", async () => {
    await using api = await fakeApi({});
    const files = { "sluice.yaml": MANIFEST };
    const { code, stderr } = await callCli(["ship", "-a", "other"], { url: api.url, files });
    expect(code).toBe(1);
    expect(stderr).toContain("sluice.yaml is shop's: an image is built by its own app's manifest");
  });

  test("an unknown manifest key: file, line, column, the line itself and what was meant", async () => {
    const text = MANIFEST.replace("    hostnames", "    replcas: 3\n    hostnames");
    const { code, stderr } = await callCli(["apply"], {
      url: "http://127.0.0.1:9",
      files: { "sluice.yaml": text },
    });
    expect(code).toBe(1);
    expect(
      stderr,
    ).toContain(`sluice.yaml:6:5  \`environments.production.replcas\` is not a key of the manifest: did you mean \`replicas\`?
    6 |     replcas: 3
      |     ^`);
  });

  test("the same as JSON, with line and column", async () => {
    const files = { "other.yaml": `${MANIFEST}    notify: {}\n` };
    const { stdout } = await callCli(["apply", "-f", "other.yaml", "--json"], {
      url: "http://127.0.0.1:9",
      files,
    });
    expect(JSON.parse(stdout)).toMatchObject({
      schema: 1,
      code: "not_landed",
      exitCode: 1,
      errors: [{ pointer: "environments.production.notify", line: 7, column: 5 }],
    });
  });

  test("two environments and neither production: which are there", async () => {
    const text = MANIFEST.replace("  production:", "  eu:\n    hostnames: [eu.example.com]\n  us:");
    const { stderr } = await callCli(["status"], {
      url: "http://127.0.0.1:9",
      files: { "sluice.yaml": text },
    });
    expect(stderr).toContain("no environment `production`; it has `eu`, `us`");
  });
});
