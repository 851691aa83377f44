import { statfs } from "node:fs/promises";
import { failed, type Outcome } from "../outcome.ts";

export interface Space {
  path: string;
  freeBytes: number;
  totalBytes: number;
}

/** Room on the file system that holds a path; `undefined` when it can't be told from here, as from within a container. */
export async function spaceAt(path: string): Promise<Space | undefined> {
  try {
    const { bavail, blocks, bsize } = await statfs(path);
    return { path, freeBytes: bavail * bsize, totalBytes: blocks * bsize };
  } catch {
    // No such path in this process's view: whoever asks has a fallback or does without the figure.
    return undefined;
  }
}

/** ENOSPC and EDQUOT, from our own calls and in the words of an engine. */
export const saysDiskFull = (text: string): boolean =>
  /no space left on device|ENOSPC|EDQUOT|disk quota exceeded/i.test(text);

/** `what` couldn't be done because the disk that holds `path` is full. */
export async function diskFull(what: string, path: string): Promise<Outcome<never>> {
  const space = await spaceAt(path);
  const room = space
    ? `${space.freeBytes} bytes (${megabytes(space.freeBytes)} MB of ${megabytes(space.totalBytes)} MB) are free`
    : "how much is free can't be told from here";
  return failed(
    "disk_full",
    `${what}: the disk that holds ${path} is full, ${room}. Free some space on this host and try again`,
  );
}

export const megabytes = (bytes: number): number => Math.round(bytes / 1e6);
