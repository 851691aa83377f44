import { copyFile, open, stat, truncate } from "node:fs/promises";
import { lastLines } from "./runtime.ts";

const CHECK_MS = 5_000;

/**
 * Keeps a process's log within its bounds while the agent runs. The process writes to the file itself (it must outlive the
 * agent), so the file is copied and cut; the process appends, hence goes on at the new end.
 */
export function boundLog(file: string, limits: { maxSizeBytes: number; maxFiles: number }): () => void {
  const timer = setInterval(() => void rotate(file, limits), CHECK_MS);
  timer.unref();
  return () => clearInterval(timer);
}

/** One look at the file: rotates it when it has grown past its limit. */
export async function rotate(
  file: string,
  { maxSizeBytes, maxFiles }: { maxSizeBytes: number; maxFiles: number },
): Promise<void> {
  try {
    if ((await stat(file)).size <= maxSizeBytes) return;
    for (let n = maxFiles - 1; n >= 1; n--) {
      const from = n === 1 ? file : `${file}.${n - 1}`;
      await copyFile(from, `${file}.${n}`).catch(() => {}); // not that many yet
    }
    await truncate(file);
  } catch {
    // Removed with its instance between two looks: nothing left to bound.
  }
}

/** The last lines of a file, reading no more of it than they can take. */
export async function tailFile(file: string, lines: number): Promise<string[]> {
  try {
    const handle = await open(file, "r");
    try {
      const { size } = await handle.stat();
      const length = Math.min(size, lines * 1_000);
      const { buffer } = await handle.read(Buffer.alloc(length), 0, length, size - length);
      return lastLines(buffer.toString("utf8"), lines);
    } finally {
      await handle.close();
    }
  } catch {
    // Never started, or removed: there are no lines.
    return [];
  }
}
