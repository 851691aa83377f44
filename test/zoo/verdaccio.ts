import { match, strictEqual } from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Resident } from "./resident.ts";

/** Not one of the project's own packages: it brings two hundred more. */
const VERSION = "6.10.4";
const HOME = join(import.meta.dirname, "../../node_modules/.cache/zoo", `verdaccio-${VERSION}`);
const PROGRAM = join(HOME, "node_modules/verdaccio/bin/verdaccio");

async function npm(cwd: string, ...args: string[]): Promise<void> {
  const env = {
    PATH: process.env.PATH,
    HOME: cwd,
    NODE_OPTIONS: `--import ${import.meta.dirname}/localhost.mjs`,
  };
  const flags = ["--no-audit", "--no-fund", "--no-update-notifier", "--fetch-retries=0"];
  await promisify(execFile)("npm", [...args, ...flags], { cwd, env, timeout: 60_000 });
}

/** A registry of npm packages under npm itself: a new user, `npm publish`, `npm install`. One instance: it knows its users by heart. */
export const verdaccio: Resident = {
  name: "verdaccio",
  programs: {},
  replicas: 1,
  options: { command: ["sh", "start.sh"], ready: "/-/ping", env: { VERDACCIO: PROGRAM } },
  async prepare() {
    if (existsSync(PROGRAM)) return;
    await mkdir(HOME, { recursive: true });
    // Its plugin for audits asks for a tag instead of a version.
    const overrides = { "node-fetch": "2.7.0" };
    await writeFile(join(HOME, "package.json"), JSON.stringify({ private: true, overrides }));
    const install = ["install", "--no-audit", "--no-fund", `verdaccio@${VERSION}`];
    await promisify(execFile)("npm", install, { cwd: HOME, timeout: 300_000 });
  },
  async visit(visitor) {
    const folder = await mkdtemp(join(tmpdir(), "sluice-zoo-npm-"));
    const name = `visit-${randomUUID()}`;
    const registry = `registry=${visitor.origin}/\n`;
    try {
      const token = await visitor.step("becomes a user", async () => {
        const body = JSON.stringify({ name, password: "correct horse" });
        const headers = { "content-type": "application/json" };
        const at = `/-/user/org.couchdb.user:${name}`;
        const { text } = await visitor.ask(201, at, { method: "PUT", body, headers });
        return (JSON.parse(text) as { token: string }).token;
      });
      const at = await project(folder, "package", { name, version: "1.0.0", main: "index.js" });
      await writeFile(join(at, "index.js"), `module.exports = "${name}";\n`);
      await writeFile(
        join(at, ".npmrc"),
        `${registry}//${visitor.hostname}:${visitor.port}/:_authToken=${token}\n`,
      );
      await visitor.step("publishes", () => npm(at, "publish"));
      await visitor.step("looks at it", async () => {
        const { dist } = JSON.parse((await visitor.ask(200, `/${name}`)).text).versions["1.0.0"];
        match(dist.tarball, new RegExp(`^${visitor.origin}/`));
      });
      const user = await project(folder, "user", { name: "user", version: "1.0.0", private: true });
      await writeFile(join(user, ".npmrc"), registry);
      await visitor.step("installs it", async () => {
        await npm(user, "install", name);
        const installed = await readFile(join(user, "node_modules", name, "index.js"), "utf8");
        strictEqual(installed, `module.exports = "${name}";\n`);
      });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};

async function project(folder: string, name: string, contents: object): Promise<string> {
  const at = join(folder, name);
  await mkdir(at);
  await writeFile(join(at, "package.json"), JSON.stringify(contents));
  return at;
}
