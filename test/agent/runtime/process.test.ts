import { appendFile, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { followFile } from "../../../agent/runtime/process/follow.ts";
import { rotate } from "../../../agent/runtime/process/log.ts";
import { createProcessRuntime } from "../../../agent/runtime/process/process.ts";
import { birthOf } from "../../../agent/runtime/process/record.ts";
import { freePort } from "../../support/engine/docker.ts";
import { collect, logsContract, numbered } from "../logs/logs.contract.ts";
import { runOf, specOf } from "../specs.ts";
import { runsContract } from "./runs.contract.ts";
import { answerOf, runtimeContract } from "./runtime.contract.ts";

const base = await mkdtemp(path.join(tmpdir(), "sluice-process-"));
const root = path.join(base, "root");
const directory = path.join(base, "processes");
const open = async () => createProcessRuntime({ root, directory });
const never = new AbortController().signal;

beforeAll(async () => {
  await mkdir(path.join(root, "app"), { recursive: true });
  await writeFile(path.join(root, "app", "package.json"), '{ "scripts": { "start": "node main.js" } }');
  await writeFile(
    path.join(root, "app", "main.js"),
    'require("node:http").createServer((q, s) => s.end(String(process.ppid))).listen(process.env.PORT)',
  );
});
afterAll(() => rm(base, { recursive: true, force: true }));

const setup = {
  open,
  image: async () => "file:app",
  missingImage: "file:no-such-app",
};
runtimeContract("process", test, setup);
runsContract("process", test, setup);
logsContract("process", test, setup);

describe("process runtime, on its own", () => {
  test("runs what npm start would run, without npm in between", async () => {
    const runtime = await open();
    const spec = specOf({ instance: "ins-start", image: "file:app", hostPort: await freePort() });
    expect(await runtime.start(spec)).toMatchObject({ ok: true });
    expect(await answerOf(spec)).toBe(String(process.pid));
    await runtime.stop(spec.instance, 1_000);
  });

  test("leaves no process of a start that failed because the disk is full", async () => {
    const runtime = await open();
    const spec = specOf({ instance: "ins-full", image: "file:app", hostPort: await freePort() });
    const folder = path.join(directory, spec.instance);
    await mkdir(folder, { recursive: true });
    // Whatever is written there finds no space.
    await symlink("/dev/full", path.join(folder, `record.json.${process.pid}.tmp`));
    const failure = await runtime.start(spec);
    expect(failure).toMatchObject({ ok: false, error: { code: "runtime_unavailable" } });
    expect(JSON.stringify(failure)).toContain("ENOSPC");
    await setTimeout(700); // as long as it would need to listen, had it been begun
    await rm(folder, { recursive: true, force: true });
    expect(await runtime.start(spec)).toMatchObject({ ok: true });
    expect(await answerOf(spec)).toBe(String(process.pid));
    await runtime.stop(spec.instance, 1_000);
  });

  test.each(["file:..", "file:../..", "file:/etc", "file:escape", "nginx:latest"])(
    "refuses %s, which is not under its root",
    async (image) => {
      await symlink("/etc", path.join(root, "escape")).catch(() => {});
      const outcome = await (await open()).pull({ image }, () => {}, never);
      expect(outcome).toMatchObject({ ok: false, error: { code: "image_not_found" } });
    },
  );

  test("gives a directory another digest when a file changes, and the same when only node_modules does", async () => {
    const app = path.join(root, "changing");
    await mkdir(path.join(app, "node_modules"), { recursive: true });
    await writeFile(path.join(app, "main.js"), "1");
    const digest = async () => {
      const outcome = await (await open()).pull({ image: "file:changing" }, () => {}, never);
      return outcome.ok ? outcome.value.digest : outcome.error.message;
    };
    const first = await digest();
    await writeFile(path.join(app, "node_modules", "x.js"), "x");
    expect(await digest()).toBe(first);
    await writeFile(path.join(app, "main.js"), "2");
    expect(await digest()).not.toBe(first);
  });

  test("stops the app's children with it", async () => {
    const runtime = await open();
    const child =
      'require("node:http").createServer((q, s) => s.end(String(process.pid))).listen(process.env.PORT)';
    const parent = `require("node:child_process").spawn(process.execPath, ["-e", ${JSON.stringify(child)}]); setInterval(() => {}, 1000)`;
    const hostPort = await freePort();
    const spec = specOf({
      instance: "ins-family",
      image: "file:app",
      hostPort,
      command: ["node", "-e", parent],
    });
    await runtime.start(spec);
    const pid = Number(await answerOf(spec));
    await runtime.stop(spec.instance, 1_000);
    await expect.poll(() => birthOf(pid)).toBeUndefined();
  });

  test("never takes a recycled pid for its own", async () => {
    const runtime = await open();
    const hostPort = await freePort();
    const spec = specOf({ instance: "ins-recycled", image: "file:app", hostPort });
    await runtime.start(spec);
    const file = path.join(directory, spec.instance, "record.json");
    const record = JSON.parse(await readFile(file, "utf8"));
    // As if the app had ended and the number had gone to another process: this test's own.
    await writeFile(file, JSON.stringify({ ...record, pid: process.pid }));
    const later = await open();
    const found = await later.list();
    expect(found.ok && found.value.find(({ instance }) => instance === spec.instance)?.running).toBe(false);
    expect(await later.stop(spec.instance, 0)).toMatchObject({ ok: true, value: { killed: false } });
    process.kill(record.pid, "SIGKILL");
  });

  test("keeps its records, which hold the app's secrets, from other users", async () => {
    const runtime = await open();
    const hostPort = await freePort();
    const spec = specOf({ instance: "ins-secret", image: "file:app", hostPort, env: { KEY: "secret" } });
    await runtime.start(spec);
    expect((await stat(path.join(directory, spec.instance, "record.json"))).mode & 0o077).toBe(0);
    await runtime.stop(spec.instance, 0);
  });

  test("cuts a log at its limit and keeps as many old ones as asked", async () => {
    const file = path.join(base, "out.log");
    for (const content of ["first", "second", "third"]) {
      await writeFile(file, content.repeat(10));
      await rotate(file, { maxSizeBytes: 20, maxFiles: 2 });
    }
    expect(await readFile(file, "utf8")).toBe("");
    expect(await readFile(`${file}.1`, "utf8")).toContain("third");
    await expect(stat(`${file}.2`)).rejects.toThrow("ENOENT");
  });

  const plain = { readOnly: false, tmpfs: [], ulimits: {} };
  test.each([
    [
      "the volume sluice-data at /data",
      { volumes: [{ source: "sluice-data", target: "/data", readOnly: false }] },
    ],
    ["the private network sluice-shop", { network: "sluice-shop" }],
    ["a read-only root", { container: { ...plain, readOnly: true } }],
    ["capabilities of its own (none)", { container: { ...plain, capabilities: [] } }],
    ["directories in memory (container.tmpfs: /tmp)", { container: { ...plain, tmpfs: ["/tmp"] } }],
    ["limits of its own (container.ulimits: nofile)", { container: { ...plain, ulimits: { nofile: 1 } } }],
    ["the stop signal SIGFOO", { container: { ...plain, stopSignal: "SIGFOO" } }],
  ])("refuses an app and a hook that want %s, rather than leave it out", async (wish, over) => {
    const runtime = await open();
    const error = { code: "start_failed", message: expect.stringContaining(wish) };
    const spec = specOf({ instance: "ins-wish", image: "file:app", hostPort: await freePort(), ...over });
    expect(await runtime.start(spec)).toMatchObject({ ok: false, error });
    const hook = runOf({ run: "run-wish", image: "file:app", command: ["true"], ...over });
    expect(await runtime.runs.start(hook)).toMatchObject({ ok: false, error });
    expect(await runtime.runs.find("run-wish")).toEqual({ ok: true, value: "none" });
  });

  test("ends an app with the stop signal of its manifest", async () => {
    const runtime = await open();
    const asked = 'process.on("SIGQUIT", () => process.exit(0)); process.on("SIGTERM", () => {});';
    const serve = 'require("node:http").createServer((q, s) => s.end("up")).listen(process.env.PORT);';
    const spec = specOf({
      instance: "ins-quit",
      image: "file:app",
      hostPort: await freePort(),
      command: ["node", "-e", `${asked} ${serve}`],
      container: { ...plain, stopSignal: "SIGQUIT" },
    });
    await runtime.start(spec);
    await answerOf(spec);
    expect(await runtime.stop(spec.instance, 10_000)).toMatchObject({ ok: true, value: { killed: false } });
  });

  test("follows a log across its rotations without a line lost or repeated", async () => {
    const file = path.join(base, "rotated.log");
    await writeFile(file, "");
    const stop = new AbortController();
    const seen: string[] = [];
    let resumeAt = "";
    const following = (async () => {
      for await (const item of followFile(file, { follow: true }, stop.signal)) {
        if ("droppedBytes" in item) throw new Error(`${item.droppedBytes} bytes are missing`);
        seen.push(item.text);
        if (item.text === "line 150") resumeAt = item.cursor;
        if (item.text === "line 2000") stop.abort();
      }
    })();
    for (let n = 0; n < 20; n++) {
      await appendFile(
        file,
        numbered(100, n * 100 + 1)
          .map((line) => `${line}\n`)
          .join(""),
      );
      await rotate(file, { maxSizeBytes: 2_000, maxFiles: 50 });
    }
    await following;
    expect(seen).toEqual(numbered(2_000));
    const later = await collect(followFile(file, { after: resumeAt, follow: false }, never));
    expect(later.map(({ text }) => text)).toEqual(numbered(1_850, 151));
    const last = await collect(followFile(file, { tail: 150, follow: false }, never));
    expect(last.map(({ text }) => text)).toEqual(numbered(150, 1_851));
  });

  test("says how much of a log was rotated away before it was read", async () => {
    const file = path.join(base, "gone.log");
    await writeFile(file, "first\n");
    const [first] = await collect(followFile(file, { follow: false }, never));
    for (const content of ["second", "third", "fourth"]) {
      await appendFile(file, `${content}\n`);
      await rotate(file, { maxSizeBytes: 0, maxFiles: 2 });
    }
    const items = [];
    for await (const item of followFile(file, { after: first?.cursor ?? "", follow: false }, never))
      items.push(item);
    expect(items).toMatchObject([{ droppedBytes: "second\nthird\n".length }, { text: "fourth" }]);
  });
});
