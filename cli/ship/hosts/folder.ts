import { rmSync } from "node:fs";
import { lstat, mkdtemp, readdir, rm } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";

/** Pids say something on their own machine alone, and containers may share a folder for what is temporary. */
const MACHINE = hostname().replace(/[^\w.-]/g, "_");
const FOLDER = /^sluice-ship-(\d+)@([\w.-]+)-\w{6}$/;

/** Does the work with a folder of its own, and leaves nothing of it; nor of earlier runs that were killed. */
export async function withFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  await clearOfTheDead();
  const folder = await mkdtemp(join(tmpdir(), `sluice-ship-${process.pid}@${MACHINE}-`));
  // A second Ctrl-C waits for nothing that comes later.
  const drop = () => rmSync(folder, { recursive: true, force: true });
  process.once("exit", drop);
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
    process.off("exit", drop);
  }
}

/** Whatever is in the way of that is no reason not to ship. */
async function clearOfTheDead(): Promise<void> {
  const names = await readdir(tmpdir()).catch(() => []);
  for (const name of names) {
    const [, pid, machine] = FOLDER.exec(name) ?? [];
    if (machine !== MACHINE || isAlive(Number(pid))) continue;
    const path = join(tmpdir(), name);
    if (await isOwn(path)) await rm(path, { recursive: true, force: true }).catch(() => {});
  }
}

/** One of somebody else's counts, too. */
export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

async function isOwn(path: string): Promise<boolean> {
  const found = await lstat(path).catch(() => undefined);
  return found?.isDirectory() === true && (!process.getuid || found.uid === process.getuid());
}
