import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FakeControl } from "../../support/fake-control.ts";

const BIN = path.resolve(import.meta.dirname, "../../../agent/bin.js");

let base: string;
let state: string;
let control: FakeControl;
const children: ChildProcess[] = [];

beforeEach(async () => {
  base = await mkdtemp(path.join(tmpdir(), "sluice-rotate-"));
  state = path.join(base, "state");
  await mkdir(path.join(base, "root"));
  control = await new FakeControl().open();
});
afterEach(async () => {
  for (const child of children.splice(0)) await kill(child);
  await control.close();
  await rm(base, { recursive: true, force: true });
  expect(control.invalid).toEqual([]);
});

/** An agent that has polled, with the token `slu_host`. */
async function agent(): Promise<ChildProcess> {
  const polls = control.polls.length;
  const flags = ["--url", control.url, "--runtime", "process", "--process-root", path.join(base, "root")];
  const env = { ...process.env, SLUICE_ENROLL_TOKEN: "sle_one-time" };
  const args = [BIN, "run", "--state", state, ...flags];
  const child = spawn(process.execPath, args, { env, stdio: ["ignore", "ignore", "pipe"] });
  child.stderr?.resume();
  children.push(child);
  await control.until(() => control.polls.length > polls, "polled");
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}

const written = async () => JSON.parse(await readFile(path.join(state, "credentials.json"), "utf8")).token;
const rotations = () => control.asked.filter((one) => one === "rotate").length;
function rotate(token: string) {
  control.nextToken = token;
  control.wake();
}
const isUsed = (token: string) => control.until(() => control.tokens.at(-1) === token, `${token} is used`);

describe("a new token for the agent", () => {
  test("is written, used at once, and opens the wake-up socket anew", async () => {
    const child = await agent();
    await control.until(() => control.socketTokens.length === 1, "connected");
    rotate("slu_second");
    await isUsed("slu_second");
    expect(control.tokens).toEqual(["slu_host", "slu_second"]);
    expect(await written()).toBe("slu_second");
    await control.until(() => control.socketTokens.at(-1) === "slu_second", "reconnected");
    await kill(child);
    await agent();
    expect(control.tokens).toEqual(["slu_host", "slu_second"]);
    expect(control.enrollments).toHaveLength(1);
  });

  test("is asked for again by the next agent when this one dies before the answer", async () => {
    const child = await agent();
    control.failNext("rotate", "hang");
    rotate("slu_second");
    await control.until(() => rotations() === 1, "asked");
    await kill(child);
    expect(await written()).toBe("slu_host");
    await agent();
    await isUsed("slu_second");
    expect(rotations()).toBe(2);
  });

  test("is asked for again when the answer is lost", async () => {
    await agent();
    control.failNext("rotate", "lost-answer");
    rotate("slu_second");
    await control.until(() => rotations() === 1, "asked");
    expect(await written()).toBe("slu_host");
    control.wake();
    await isUsed("slu_second");
  });

  test("is asked for again by the next agent when this one dies before it has written it", async () => {
    const child = await agent();
    // Whoever opens a FIFO to write waits for a reader: the agent stands still in the middle of its write.
    const temporary = path.join(state, `credentials.json.${child.pid}.tmp`);
    execFileSync("/usr/bin/mkfifo", [temporary]);
    rotate("slu_second");
    await control.until(() => rotations() === 1, "asked");
    await kill(child);
    expect(await written()).toBe("slu_host");
    await rm(temporary);
    control.nextToken = "slu_third";
    await agent();
    await isUsed("slu_third");
    expect(control.tokens).toEqual(["slu_host", "slu_third"]);
  });

  test("is used by the next agent when this one dies after writing it, before its first use", async () => {
    const child = await agent();
    rotate("slu_second");
    await control.until(() => rotations() === 1, "asked");
    control.failAlways("poll", "hang");
    await expect.poll(written).toBe("slu_second");
    await kill(child);
    expect(control.tokens).toEqual(["slu_host"]);
    control.failAlways("poll", undefined);
    await agent();
    expect(control.tokens).toEqual(["slu_host", "slu_second"]);
    expect(rotations()).toBe(1);
  });

  test("that can't be written is not used, and is asked for again later", async () => {
    const child = await agent();
    const temporary = path.join(state, `credentials.json.${child.pid}.tmp`);
    await mkdir(temporary);
    rotate("slu_second");
    await control.until(() => rotations() === 1, "asked");
    await rm(temporary, { recursive: true });
    await control.until(() => control.tokens.at(-1) === "slu_host", "the old one is used on");
    control.wake();
    await isUsed("slu_second");
  });
});

describe("a control that was put back to a time before the rotation", () => {
  test("is talked to with the token it knows, by this agent and the next, until it gives a new one", async () => {
    const child = await agent();
    rotate("slu_second");
    await isUsed("slu_second");
    control.unknownTokens.add("slu_second");
    control.nextToken = undefined;
    control.wake();
    await isUsed("slu_host");
    await kill(child);
    await agent();
    await isUsed("slu_host");
    rotate("slu_third");
    await isUsed("slu_third");
    expect(await written()).toBe("slu_third");
  });

  test("and knows neither is not asked in a loop", async () => {
    await agent();
    rotate("slu_second");
    await isUsed("slu_second");
    control.unknownTokens.add("slu_second").add("slu_host");
    const polls = () => control.asked.filter((one) => one === "poll").length;
    const before = polls();
    control.wake();
    await control.until(() => polls() === before + 2, "both were tried");
    control.wake();
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(polls()).toBe(before + 2);
  });
});
