import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { access, chmod, constants, mkdtemp, readdir, rm, statfs, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { isAlive } from "../../cli/ship/hosts/folder.ts";

const SHARED_MEMORY = "/dev/shm";
const PREFIX = "sluice-tests-";
/** What a whole run writes at most, several times over. */
const ROOM_BYTES = 4 * 2 ** 30;

/**
 * A folder for what tests write, in memory where there is room: databases and state are gone with their test, and none of it has
 * to wait for a disk. It goes with this process, and names it, so that the next
 * run can remove what a killed one left.
 */
export async function memoryFolder(): Promise<string> {
  if (!(await isUsable())) return tmpdir();
  for (const name of await readdir(SHARED_MEMORY)) {
    const [, pid] = /^sluice-tests-(\d+)-/.exec(name) ?? [];
    if (pid !== undefined && !isAlive(Number(pid)))
      // Somebody else's is theirs to remove.
      await rm(path.join(SHARED_MEMORY, name), { recursive: true, force: true }).catch(() => {});
  }
  const folder = await mkdtemp(path.join(SHARED_MEMORY, `${PREFIX}${process.pid}-`));
  // Services run as users of their own.
  await chmod(folder, 0o755);
  // Programs that tests write there must run.
  const program = path.join(folder, "true");
  await writeFile(program, "#!/bin/sh\n", { mode: 0o755 });
  const { status } = spawnSync(program);
  await rm(program);
  if (status !== 0) {
    await rm(folder, { recursive: true });
    return tmpdir();
  }
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function isUsable(): Promise<boolean> {
  try {
    await access(SHARED_MEMORY, constants.W_OK);
    const { bavail, bsize } = await statfs(SHARED_MEMORY);
    return bavail * bsize >= ROOM_BYTES;
  } catch {
    return false;
  }
}
