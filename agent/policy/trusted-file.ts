import { realpath, stat } from "node:fs/promises";
import path from "node:path";

/** Why a file is not the host's own word: others than root and the agent's user can change it. */
export async function trustProblem(file: string): Promise<string | undefined> {
  const real = await realpath(file);
  for (const place of new Set([real, path.dirname(real), path.dirname(path.resolve(file))])) {
    const { uid, mode } = await stat(place);
    if (uid !== 0 && uid !== process.getuid?.())
      return `${place} belongs to user ${uid}: give it to root (chown root ${place})`;
    // In a directory with the sticky bit, nobody can replace another's file.
    const isSticky = place !== real && (mode & 0o1000) !== 0;
    if ((mode & 0o022) !== 0 && !isSticky)
      return `${place} can be written by its group or by everybody (mode ${(mode & 0o777).toString(8)}): chmod go-w ${place}`;
  }
  return undefined;
}
