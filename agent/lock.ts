import { randomUUID } from "node:crypto";
import { link, readFile, readlink, rm, stat, utimes, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { birthOf } from "./runtime/process/record.ts";

/**
 * One agent per state directory: two would hand out the same report numbers, overwrite each other's journal, and each take
 * the other's stops for crashes. The lock is a file that names its holder by pid and start time, so that neither a crash
 * nor a pid that was given out again leaves it locked.
 */
const holderSchema = z.object({
  pid: z.number().int(),
  birth: z.string(),
  /** The pid's namespace: in another container the same number is another process. */
  space: z.string(),
});
type Holder = z.infer<typeof holderSchema>;

/** A holder in another container can't be looked up, so it shows by the file's time that it lives. */
const TOUCH_MS = 10_000;
const SILENT_MS = 30_000;
const CLEARING_MS = 5;

const fileOf = (directory: string) => path.join(directory, "agent.lock");

/** Takes the lock, or throws and says who has it. Answers how to give it back. */
export async function lockDirectory(directory: string): Promise<() => Promise<void>> {
  const file = fileOf(directory);
  const mine = JSON.stringify(await ownHolder());
  const draft = `${file}.${randomUUID()}`;
  await writeFile(draft, mine, { mode: 0o600 });
  try {
    for (;;) {
      if (await linked(draft, file)) break;
      const found = await read(file);
      if (found === undefined) continue;
      if (await lives(file, found)) throw refusal(directory, found);
      await clearAway(file, { stale: found, draft });
    }
  } finally {
    await rm(draft, { force: true });
  }
  const touching = setInterval(() => void touch(file), TOUCH_MS);
  touching.unref();
  return async () => {
    clearInterval(touching);
    if ((await read(file)) === mine) await rm(file, { force: true });
  };
}

async function ownHolder(): Promise<Holder> {
  return { pid: process.pid, birth: (await birthOf(process.pid)) ?? "unknown", space: await ownSpace() };
}

/** Elsewhere than on Linux there are no namespaces, and all pids are of one kind. */
const ownSpace = () => readlink("/proc/self/ns/pid").catch(() => "");

/** A link is made whole or not at all, and never over another: what `wx` does for a name, it does for a content. */
async function linked(draft: string, file: string): Promise<boolean> {
  try {
    await link(draft, file);
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  }
}

/** Undefined: given back a moment ago. One that another user made, or that is no file, is nothing to wait for. */
async function read(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw new Error(`${file} can't be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

const codeOf = (error: unknown) => (error instanceof Error && "code" in error ? error.code : undefined);

async function lives(file: string, text: string): Promise<boolean> {
  const holder = holderOf(text);
  if (!holder) return false;
  if (holder.space === (await ownSpace())) return (await birthOf(holder.pid)) === holder.birth;
  const { mtimeMs } = await stat(file).catch(() => ({ mtimeMs: 0 })); // gone: free
  return Date.now() - mtimeMs < SILENT_MS;
}

function holderOf(text: string): Holder | undefined {
  try {
    return holderSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined; // cut short by a power cut: nobody's
  }
}

/**
 * Removes a lock whose holder is dead. One agent at a time may: between the look and the removal another could have cleared it
 * and taken it, and its lock would be the one removed.
 */
async function clearAway(file: string, { stale, draft }: { stale: string; draft: string }): Promise<void> {
  const guard = `${file}.clearing`;
  if (!(await linked(draft, guard))) {
    // Clearing takes a moment: a guard that stays is of an agent that died at it.
    const { mtimeMs } = await stat(guard).catch(() => ({ mtimeMs: Date.now() }));
    if (Date.now() - mtimeMs > SILENT_MS) await rm(guard, { force: true });
    await sleep(CLEARING_MS);
    return;
  }
  try {
    if ((await read(file)) === stale) await rm(file, { force: true });
  } finally {
    await rm(guard, { force: true });
  }
}

async function touch(file: string): Promise<void> {
  const now = new Date();
  await utimes(file, now, now).catch(() => {}); // the directory was removed under us: nothing to keep
}

function refusal(directory: string, text: string): Error {
  const { pid = 0, space = "" } = holderOf(text) ?? {};
  return new Error(
    `another agent runs on ${directory} (pid ${pid}${space ? ` in ${space}` : ""}): stop it first, or give this one a --state of its own. If that one is a container that was killed, the lock is free ${SILENT_MS / 1000} s after`,
  );
}
