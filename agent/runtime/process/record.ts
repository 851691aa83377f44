import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { z } from "zod";
import { instanceSpecSchema } from "../../../src/protocol/agent/instance.ts";
import { writeFileAtomically } from "../../atomic-file.ts";

/** What is kept of one process, so that an agent started later finds it again, and only it. */
const recordSchema = z.object({
  spec: instanceSpecSchema,
  pid: z.number().int(),
  /** Start time as the system tells it: a recycled pid has another. */
  birth: z.string(),
  startedAt: z.number(),
});
export type ProcessRecord = z.infer<typeof recordSchema>;

/** Of a process that is about to be started. No process has this id. */
export const UNBORN = { pid: 0, birth: "unborn" };

/** A folder per instance: `record.json` (with its environment, hence mode 0600) and `out.log`. */
export function processRecords(directory: string) {
  const folder = (instance: string) => path.join(directory, instance);
  const file = (instance: string) => path.join(folder(instance), "record.json");
  return {
    log: (instance: string) => path.join(folder(instance), "out.log"),
    async read(instance: string): Promise<ProcessRecord | undefined> {
      const text = await readFile(file(instance), "utf8").catch(() => undefined); // never started here
      return text === undefined ? undefined : parseRecord(text);
    },
    async prepare(instance: string): Promise<void> {
      await mkdir(folder(instance), { recursive: true, mode: 0o700 });
    },
    async write(record: ProcessRecord): Promise<void> {
      await writeFileAtomically(file(record.spec.instance), JSON.stringify(record));
    },
    async remove(instance: string): Promise<void> {
      await rm(folder(instance), { recursive: true, force: true });
    },
    async instances(): Promise<string[]> {
      const entries = await readdir(directory, { withFileTypes: true }).catch(() => []); // nothing started yet
      return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
    },
  };
}

/** A record from another age is none: the process is left alone, since its pid can't be told to be its own. */
function parseRecord(text: string): ProcessRecord | undefined {
  try {
    return recordSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined; // not JSON: as unreadable as another shape
  }
}

/** When a process was born, in words that no other process shares; `undefined` when it is dead (or a zombie). */
export async function birthOf(pid: number): Promise<string | undefined> {
  try {
    if (process.platform === "linux") return await birthFromProc(pid);
    const { stdout } = await promisify(execFile)("ps", ["-o", "lstart=", "-p", String(pid)], {
      timeout: 5_000,
    });
    return stdout.trim() || undefined;
  } catch {
    // No such file, or ps found nothing: both mean that no such process lives.
    return undefined;
  }
}

let bootId: Promise<string> | undefined;

async function birthFromProc(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  // The second field is the command in parentheses, which may hold spaces and parentheses of its own.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  if (fields[0] === "Z" || fields[0] === "X") return undefined;
  bootId ??= readFile("/proc/sys/kernel/random/boot_id", "utf8");
  // Field 22, ticks since boot: only unique together with the boot.
  return `${(await bootId).trim()}/${fields[19]}`;
}

export async function isAlive(record: ProcessRecord): Promise<boolean> {
  return (await birthOf(record.pid)) === record.birth;
}
