import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, readFileSync, symlinkSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import http, { type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import { API_TOKEN, startCloudflare } from "../support/cloudflare/server.ts";
import { isInstalled } from "../support/services/installed.ts";

/** What people install, run as they run it: nothing of the checkout is beside it. */

const run = promisify(execFile);
const ROOT = new URL("../../", import.meta.url).pathname;
const TIMEOUT_MS = 120_000;

/** Every Node on this machine that the package is for: the project's own, and the one on the PATH. */
const NODES = [process.execPath, "/usr/bin/node", "/usr/local/bin/node"].filter((file) => existsSync(file));

let folder: string;
let root: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-package-"));
  await run("npm", ["pack", "--pack-destination", folder], { cwd: ROOT });
  const [tarball = ""] = (await readdir(folder)).filter((name) => name.endsWith(".tgz"));
  await run("tar", ["xzf", join(folder, tarball), "-C", folder]);
  root = join(folder, "package");
}, TIMEOUT_MS);
afterAll(() => rm(folder, { recursive: true, force: true }));

const clean = { PATH: process.env.PATH ?? "", NO_COLOR: "1" };
async function sluice(node: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const home = await mkdtemp(join(folder, "home-"));
  const options = { cwd: home, env: { ...clean, HOME: home, ...env } };
  return run(node, [join(root, "cli/bin.js"), ...args], options).then(
    ({ stdout, stderr }) => ({ code: 0, said: stdout + stderr }),
    (error: { code: number; stdout: string; stderr: string }) => ({
      code: error.code,
      said: error.stdout + error.stderr,
    }),
  );
}

describe("the package", () => {
  it("has no TypeScript to run, no tests, a licence, and two packages to bring", async () => {
    const files = await readdir(root, { recursive: true });
    expect(files.filter((name) => /\.ts$/.test(name) && !name.endsWith(".d.ts"))).toEqual([]);
    expect(files.filter((name) => /test|bench/.test(name))).toEqual([]);
    expect(files).toContain("LICENSE");
    const file = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
    expect(Object.keys(file.dependencies)).toEqual(["eventsource-parser", "zod"]);
  });

  it.each(NODES)("runs on %s in an empty directory", async (node) => {
    const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
    expect(await sluice(node, ["--version"])).toEqual({ code: 0, said: `${version}\n` });
    expect((await sluice(node, ["explain", "locked"])).said).toContain("sluice unlock");
    expect((await sluice(node, ["status"])).code).toBe(1);
    const lost = await sluice(node, ["status", "-a", "shop"], {
      SLUICE_URL: "http://127.0.0.1:9",
      SLUICE_TOKEN: "x",
    });
    expect(lost.code).toBe(6);
  });

  it(
    "declares the client's types so that a strict program compiles",
    async () => {
      const program = `import { Client } from "@sluice-edge/sluice/client";
const client = new Client({ url: "https://control.test", token: "t" });
export const serving = async (): Promise<number | undefined> =>
  (await client.environments.get("shop", "production")).environment.split[0]?.weight;
export async function wrong(): Promise<string> {
  const { environment } = await client.environments.get("shop", "production");
  // @ts-expect-error it is a number
  return environment.split[0]?.weight ?? "";
}
`;
      const app = await mkdtemp(join(folder, "app-"));
      await writeFile(join(app, "program.mts"), program);
      await run("mkdir", ["-p", join(app, "node_modules/@sluice-edge")]);
      symlinkSync(root, join(app, "node_modules/@sluice-edge/sluice"));
      for (const name of ["zod", "eventsource-parser", "@types"]) {
        for (const at of [join(root, "node_modules"), join(app, "node_modules")]) {
          await run("mkdir", ["-p", at]);
          await run("ln", ["-sfn", join(ROOT, "node_modules", name), join(at, name)]);
        }
      }
      const args = [
        "--noEmit",
        "--strict",
        "--exactOptionalPropertyTypes",
        "--module",
        "nodenext",
        "--target",
        "es2024",
      ];
      const { stdout } = await run(
        join(ROOT, "node_modules/.bin/tsc"),
        [...args, "--types", "node", "program.mts"],
        {
          cwd: app,
        },
      ).catch((error: { stdout: string }) => error);
      expect(stdout).toBe("");
    },
    TIMEOUT_MS,
  );

  it(
    "sets Sluice up with the Workers that it brings",
    async () => {
      await run("mkdir", ["-p", join(root, "node_modules")]);
      await run("ln", ["-sfn", join(ROOT, "node_modules/wrangler"), join(root, "node_modules/wrangler")]);
      const cloudflare = await startCloudflare({ scripts: [] });
      try {
        const env = { CLOUDFLARE_API_TOKEN: API_TOKEN, CLOUDFLARE_API_BASE_URL: cloudflare.url };
        const made = await sluice(
          process.execPath,
          ["setup", "--zone", "example.com", "--yes", "--no-wait"],
          env,
        );
        expect(made.said).toContain("✔ Worker sluice-edge");
        expect(made.code).toBe(0);
        const control = cloudflare.state.workers.get("sluice-control");
        expect(control?.bindings.map(({ name }) => name)).toContain("COORDINATOR");
      } finally {
        await cloudflare.close();
      }
    },
    TIMEOUT_MS,
  );
});

describe("cli.sh", () => {
  let server: Server;
  let url: string;
  let code: Buffer;
  beforeAll(async () => {
    // As each start of the tests bundles it for control.
    code = readFileSync(join(ROOT, "dist/cli.txt"));
    server = http.createServer(({ url }, response) => {
      if (url === "/cli.mjs") return response.end(code);
      const challenge = { "cf-mitigated": "challenge" };
      if (url === "/challenged/cli.mjs") return response.writeHead(403, challenge).end("<html>");
      // As curl finds it that can't get further, from a machine of the test.
      const location = "http://127.0.0.1:1/acme.cloudflareaccess.com/cdn-cgi/access/login/sluice.example.com";
      if (url === "/login/cli.mjs") return response.writeHead(302, { location }).end();
      return response.writeHead(404).end();
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    url = `http://127.0.0.1:${address !== null && typeof address === "object" ? address.port : 0}`;
  });
  afterAll(() => server.close());

  const script = async (sum: string, below: string) =>
    (await readFile(join(ROOT, "cli/install.sh"), "utf8"))
      .replaceAll("@CONTROL_URL@", url + below)
      .replaceAll("@CLI_SHA256@", sum);
  async function install(sum: string, env: Readonly<Record<string, string>> = {}, below = "") {
    const home = await mkdtemp(join(folder, "home-"));
    const file = join(home, "cli.sh");
    await writeFile(file, await script(sum, below));
    const ran = await run("/bin/sh", [file], { cwd: home, env: { ...clean, HOME: home, ...env } }).then(
      ({ stdout, stderr }) => ({ code: 0, said: stdout + stderr }),
      (error: { code: number; stdout: string; stderr: string }) => ({
        code: error.code,
        said: error.stdout + error.stderr,
      }),
    );
    return { ...ran, home };
  }
  const right = () => createHash("sha256").update(code).digest("hex");

  it("puts a command on the PATH of a job's later steps", async () => {
    const path = join(folder, "github-path");
    const { code, said, home } = await install(right(), { GITHUB_PATH: path });
    expect(said).toMatch(/^sluice \d+\.\d+\.\d+ is /);
    expect(code).toBe(0);
    expect(await readFile(path, "utf8")).toBe(`${home}/.local/bin\n`);
    const { stdout } = await run(join(home, ".local/bin/sluice"), ["explain", "locked"], {
      env: { ...clean, HOME: home },
    });
    expect(stdout).toContain("sluice unlock");
  });

  it("is found from everywhere, where it was put by a name relative to here", async () => {
    const path = join(folder, "github-path-relative");
    const { said, home } = await install(right(), { GITHUB_PATH: path, SLUICE_BIN: "my tools/bin" });
    expect(said).toContain(`${home}/my tools/bin/sluice`);
    expect(await readFile(path, "utf8")).toBe(`${home}/my tools/bin\n`);
    const env = { ...clean, HOME: home };
    const { stdout } = await run(join(home, "my tools/bin/sluice"), ["explain", "locked"], { cwd: "/", env });
    expect(stdout).toContain("sluice unlock");
  });

  it("says what to set where Cloudflare's security answers in control's place", async () => {
    const { code, said, home } = await install(right(), {}, "/challenged");
    expect([code, said]).toEqual([1, expect.stringMatching(/can't be read: a challenge .*Bot Fight Mode/)]);
    expect(await readdir(join(home, ".local/bin"))).toEqual([]);
    const login = await install(right(), {}, "/login");
    expect([login.code, login.said]).toEqual([1, expect.stringContaining("Cloudflare Access answered")]);
  });

  it("installs nothing that is not what control meant", async () => {
    const { code, said, home } = await install("0".repeat(64));
    expect(code).toBe(1);
    expect(said).toContain("is not what this script was made for");
    expect(await readdir(join(home, ".local/bin"))).toEqual([]);
  });

  test.skipIf(!isInstalled("shellcheck", "/usr/bin/shellcheck"))(
    "has nothing that shellcheck minds",
    async () => {
      await run("/usr/bin/shellcheck", [join(ROOT, "cli/install.sh")]);
    },
  );
});
