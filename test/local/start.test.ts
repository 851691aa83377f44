import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect, onTestFinished, test } from "vitest";
import { readCredentials, writeCredentials } from "../../agent/control/credentials.ts";
import { openHome } from "../../local/home.ts";
import { keptRuntime, tellAddress } from "../../local/hosts.ts";
import { startOptions } from "../../local/start-options.ts";
import { NODE } from "../support/cli/run-cli.ts";

/** The state of an agent that was enrolled before, for docker. */
async function enrolled(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "sluice-start-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const host = { id: "host_1", name: "local" };
  await writeCredentials(dir, { url: "http://127.0.0.1:8081", token: "t", host, runtime: "docker" });
  return dir;
}

test.each([
  [["--bogus"], "Unknown option '--bogus'"],
  [["--edge-port", "abc"], "--edge-port abc: a port is a number from 1 to 65535"],
  [["--control-port", "99999"], "--control-port 99999: a port is a number from 1 to 65535"],
  [["--runtime", "podman"], "--runtime podman: it is one of docker, process"],
  [["--process-root", "/nope"], "--process-root /nope: there is no such directory"],
  [["--process-root", "/dev/null"], "--process-root /dev/null: it is no directory"],
  [["--process-root", "/dev/null/x"], "--process-root /dev/null/x: there is no such directory"],
])("npm start refuses %j in words", (args, words) => {
  expect(() => startOptions(args)).toThrow(words);
});

test("a host that was enrolled keeps its runtime, and another one is refused, not ignored", async () => {
  const dir = await enrolled();
  expect(await keptRuntime(dir)).toEqual({ runtime: "docker", why: "as it was enrolled" });
  expect(await keptRuntime(dir, "docker")).toMatchObject({ runtime: "docker" });
  await expect(keptRuntime(dir, "process")).rejects.toThrow("was enrolled for docker and stays so");
  expect(await keptRuntime(join(dir, "other"), "process")).toMatchObject({ runtime: "process" });
});

test("each state has slots' ports of its own, and keeps them; one from before they were kept has its former ones", async () => {
  const dir = await mkdtemp(join(tmpdir(), "sluice-start-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const home = await openHome(join(dir, "one"));
  const first = await home.keepPorts(16);
  await home.announce("http://127.0.0.1:8081", "http://127.0.0.1:8080");
  expect(await (await openHome(join(dir, "one"))).keepPorts(16)).toBe(first);
  // Somebody listens where the first would begin: the next has others.
  const taken = createServer().listen(first, "127.0.0.1");
  onTestFinished(() => void taken.close());
  await once(taken, "listening");
  const other = await (await openHome(join(dir, "two"))).keepPorts(16);
  expect(Math.abs(other - first)).toBeGreaterThanOrEqual(16);
  const former = await openHome(join(dir, "three"));
  await former.announce("http://127.0.0.1:8081", "http://127.0.0.1:8080");
  expect(await (await openHome(join(dir, "three"))).keepPorts(16)).toBe(21_000);
});

test("a host that was enrolled looks for control where it is now", async () => {
  const dir = await enrolled();
  expect(await tellAddress(dir, "http://127.0.0.1:9191")).toBe(true);
  expect(await readCredentials(dir)).toMatchObject({ url: "http://127.0.0.1:9191", token: "t" });
  expect(await tellAddress(join(dir, "other"), "http://127.0.0.1:9191")).toBe(false);
});

test("a stack that can't start ends with its cause, and nothing of it goes on", async () => {
  const dir = await mkdtemp(join(tmpdir(), "sluice-start-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  await writeFile(join(dir, "file"), "");
  const options = { stateDir: join(dir, "file/state"), edgePort: 0, controlPort: 0, version: "t" };
  const stack = new URL("../../local/stack.ts", import.meta.url);
  const script = `import { startStack } from ${JSON.stringify(stack)};
    await startStack(${JSON.stringify({ ...options, adminTokenSha256: "0".repeat(64), secretsKey: "a:b" })});`;
  const child = spawn(NODE, ["--input-type=module", "-e", script], { stdio: ["ignore", "ignore", "pipe"] });
  const [words, [code]] = await Promise.all([text(child.stderr), once(child, "exit")]);
  expect({ code, words }).toEqual({ code: 1, words: expect.stringContaining("ENOTDIR") });
});
