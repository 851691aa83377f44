import {
  closeSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { copyFile, open, rename, stat } from "node:fs/promises";
import { z } from "zod";
import { lastLines } from "../runtime.ts";

const CHECK_MS = 5_000;
/** Moments that are remembered of a log; beyond, every second one is forgotten. */
const MAX_MARKS = 500;

interface Limits {
  maxSizeBytes: number;
  maxFiles: number;
}

/**
 * What a log that a process writes itself can't say: how much was rotated out before its first byte (so that a position in
 * it means the same for ever), and how far it was at which time (`marks`: position, epoch ms).
 */
const ledgerSchema = z.object({ base: z.number(), marks: z.array(z.tuple([z.number(), z.number()])) });
type Ledger = z.infer<typeof ledgerSchema>;

const ledgerFile = (file: string) => `${file}.ledger`;

export function readLedger(file: string): Ledger {
  try {
    return ledgerSchema.parse(JSON.parse(readFileSync(ledgerFile(file), "utf8")));
  } catch {
    return { base: 0, marks: [] }; // Not rotated or looked at so far; or half of it was lost with the power.
  }
}

/** In one step, but not synced: after a power cut the log itself is short of its last lines, too. */
function writeLedger(file: string, ledger: Ledger): void {
  writeFileSync(`${ledgerFile(file)}.tmp`, JSON.stringify(ledger), { mode: 0o600 });
  renameSync(`${ledgerFile(file)}.tmp`, ledgerFile(file));
}

/**
 * Keeps a process's log within its bounds while the agent runs. The process writes to the file itself (it must outlive the
 * agent), so the file is copied and cut; the process appends, hence goes on at the new end.
 */
export function boundLog(file: string, limits: Limits): () => void {
  const timer = setInterval(() => void look(file, limits), CHECK_MS);
  timer.unref();
  return () => clearInterval(timer);
}

async function look(file: string, limits: Limits): Promise<void> {
  try {
    const { size } = await stat(file);
    const ledger = readLedger(file);
    const [seen] = ledger.marks.at(-1) ?? [0];
    if (ledger.base + size !== seen) {
      const marks = [...ledger.marks, [ledger.base + size, Date.now()] satisfies [number, number]];
      writeLedger(file, {
        ...ledger,
        marks: marks.length > MAX_MARKS ? marks.filter((_, n) => n % 2) : marks,
      });
    }
    await rotate(file, limits);
  } catch {
    // Removed with its instance between two looks: nothing left to bound.
  }
}

/** One look at the file: rotates it when it has grown past its limit. */
export async function rotate(file: string, { maxSizeBytes, maxFiles }: Limits): Promise<void> {
  try {
    const { size } = await stat(file);
    if (size <= maxSizeBytes) return;
    for (let n = maxFiles - 1; n >= 2; n--) await rename(`${file}.${n - 1}`, `${file}.${n}`).catch(() => {}); // not that many yet
    if (maxFiles > 1) await copyFile(file, `${file}.1`);
    cut(file, maxFiles > 1);
  } catch {
    // Removed with its instance between two looks: nothing left to bound.
  }
}

/**
 * Copies what was written meanwhile, moves the base and cuts, without letting go of the thread: a reader in this process
 * sees all of it or nothing. The base is moved first: an agent killed in between shows lines twice rather than never.
 */
function cut(file: string, isKept: boolean): void {
  const log = openSync(file, "r+");
  const copy = isKept ? openSync(`${file}.1`, "a+", 0o600) : undefined;
  try {
    const ledger = readLedger(file);
    let copied = copy === undefined ? 0 : fstatSync(copy).size;
    do {
      copied = copyRest({ log, copy, copied });
      writeLedger(file, { ...ledger, base: ledger.base + copied });
    } while (fstatSync(log).size > copied);
    ftruncateSync(log);
  } finally {
    closeSync(log);
    if (copy !== undefined) closeSync(copy);
  }
}

/** Answers how far the log was then. */
function copyRest({ log, copy, copied }: { log: number; copy: number | undefined; copied: number }): number {
  const { size } = fstatSync(log);
  if (copy === undefined) return size;
  const block = Buffer.alloc(1 << 16);
  for (let at = copied; at < size; ) {
    const read = readSync(log, block, 0, Math.min(block.length, size - at), at);
    writeSync(copy, block, 0, read);
    at += read;
  }
  return size;
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
