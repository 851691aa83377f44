import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { lockDirectory } from "../../agent/lock.ts";

let directory: string;
let file: string;
beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), "sluice-lock-"));
  file = path.join(directory, "agent.lock");
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const holder = async () => JSON.parse(await readFile(file, "utf8"));
/** What another process's lock would look like. */
async function heldBy(over: { pid?: number; birth?: string; space?: string }) {
  const unlock = await lockDirectory(directory);
  const own = await holder();
  await unlock();
  await writeFile(file, JSON.stringify({ ...own, ...over }));
}

describe("the lock on a state directory", () => {
  test("refuses a second agent and says who has it", async () => {
    await lockDirectory(directory);
    await expect(lockDirectory(directory)).rejects.toThrow(
      `another agent runs on ${directory} (pid ${process.pid}`,
    );
  });

  test("is refused, with the reason, where it can't be read", async () => {
    await mkdir(file);
    await expect(lockDirectory(directory)).rejects.toThrow(`${file} can't be read: EISDIR`);
  });

  test("is given to exactly one of many that come at the same time, also over a stale one", async () => {
    for (const prepare of [async () => {}, () => heldBy({ birth: "of a process before" })]) {
      await rm(file, { force: true });
      await prepare();
      const tries = await Promise.allSettled(Array.from({ length: 8 }, () => lockDirectory(directory)));
      expect(tries.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
      expect(await readdir(directory)).toEqual(["agent.lock"]);
    }
  });

  test("is taken over although an agent died while it cleared a stale one away", async () => {
    await heldBy({ birth: "of a process before" });
    await writeFile(`${file}.clearing`, "{}");
    const before = new Date(Date.now() - 31_000);
    await utimes(`${file}.clearing`, before, before);
    await lockDirectory(directory);
    expect(await readdir(directory)).toEqual(["agent.lock"]);
  });

  test("is free again after it was given back", async () => {
    await (await lockDirectory(directory))();
    expect(await readdir(directory)).toEqual([]);
    await lockDirectory(directory);
  });

  test("of an agent that was killed is taken over", async () => {
    const child = spawn("sleep", ["60"]);
    child.kill("SIGKILL");
    await once(child, "exit");
    await heldBy({ pid: child.pid ?? 0, birth: "anything" });
    await lockDirectory(directory);
    expect((await holder()).pid).toBe(process.pid);
  });

  test("is not held by another process that got its holder's pid", async () => {
    await heldBy({ pid: 1, birth: "of a process before" });
    await lockDirectory(directory);
  });

  test("that a power cut left unreadable is taken over", async () => {
    await writeFile(file, '{"pid": 1');
    await lockDirectory(directory);
  });

  test("of an agent in another container holds while that one shows that it lives", async () => {
    await heldBy({ space: "pid:[1]" });
    await expect(lockDirectory(directory)).rejects.toThrow("pid:[1]");
    const before = new Date(Date.now() - 31_000);
    await utimes(file, before, before);
    await lockDirectory(directory);
  });
});
