import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openJournal } from "../../agent/journal.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), "sluice-journal-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const open = (onTrouble: (message: string) => void = (message) => expect.fail(message)) =>
  openJournal(directory, onTrouble);

test("has on disk what an update promised, for its owner only", async () => {
  const journal = await open();
  await journal.update(({ fences }) => {
    fences["env-1"] = 7;
  });
  expect((await open()).state.fences).toEqual({ "env-1": 7 });
  expect((await stat(path.join(directory, "journal.json"))).mode & 0o077).toBe(0);
});

test("keeps every one of many updates made at once", async () => {
  const journal = await open();
  const updates = Array.from({ length: 200 }, (_, n) =>
    journal.update(({ fences }) => {
      fences[`env-${n}`] = n;
    }),
  );
  await Promise.all(updates);
  expect(Object.keys((await open()).state.fences)).toHaveLength(200);
});

test("holds the old state or the new whenever its process is killed, never something in between", async () => {
  const module = path.resolve(import.meta.dirname, "../../agent/journal.ts");
  const writer = `
    import { openJournal } from ${JSON.stringify(module)};
    const journal = await openJournal(${JSON.stringify(directory)}, () => process.exit(9));
    for (let n = (journal.state.fences.last ?? 0) + 1; ; n++) {
      await journal.update((state) => { state.fences.last = n; state.fences["pad-" + (n % 500)] = n; });
      process.stdout.write(n + "\\n");
    }`;
  for (let round = 0; round < 4; round++) {
    const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", writer], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let said = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      said += chunk;
      if (said.length > 40 * (round + 1)) child.kill("SIGKILL");
    });
    await once(child, "close");
    expect(child.signalCode).toBe("SIGKILL");
    const promised = Number(said.trimEnd().split("\n").at(-1));
    const { state } = await open();
    expect(state.fences.last).toBeGreaterThanOrEqual(promised);
  }
});

test.each(["", "{", '{"fences": 3}', "null"])(
  "puts aside a journal that reads %j and begins anew",
  async (content) => {
    await writeFile(path.join(directory, "journal.json"), content);
    const told: string[] = [];
    const journal = await open((message) => void told.push(message));
    expect(journal.state.instances).toEqual({});
    const [aside = "", ...others] = await readdir(directory);
    expect(others).toEqual([]);
    expect(told.join()).toContain(aside);
    expect(await readFile(path.join(directory, aside), "utf8")).toBe(content);
  },
);

test("writes nothing after it was closed: the file may be the next agent's", async () => {
  const journal = await open();
  await journal.close();
  await journal.update(({ fences }) => {
    fences["env-1"] = 7;
  });
  expect((await open()).state.fences).toEqual({});
});

test("goes on in memory when it can't write, says so, and writes all of it when it can again", async () => {
  const told: string[] = [];
  const journal = await open((message) => void told.push(message));
  await rm(directory, { recursive: true });
  await journal.update(({ fences }) => {
    fences.first = 1;
  });
  expect(told.join()).toContain("can't be written");
  await mkdir(directory);
  await journal.update(({ fences }) => {
    fences.second = 2;
  });
  expect((await open()).state.fences).toEqual({ first: 1, second: 2 });
});

test("says that the disk is full, where and how much is free, and knows it until it can write again", async () => {
  const told: string[] = [];
  const journal = await open((message) => void told.push(message));
  // Whatever is written there finds no space.
  const temporary = path.join(directory, `journal.json.${process.pid}.tmp`);
  await symlink("/dev/full", temporary);
  expect(await journal.persist(() => {})).toBe(false);
  expect(journal.isDiskFull).toBe(true);
  expect(told.join()).toMatch(new RegExp(`the disk that holds ${directory} is full, \\d+ bytes .* are free`));
  await rm(temporary);
  expect(await journal.persist(() => {})).toBe(true);
  expect(journal.isDiskFull).toBe(false);
});
