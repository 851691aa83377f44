import { mkdir, readFile, rename } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { INSTANCE_REPORTS } from "../src/protocol/agent/health.ts";
import { instanceSpecSchema } from "../src/protocol/agent/instance.ts";
import { jobErrorSchema, jobResultSchema } from "../src/protocol/agent/job-results.ts";
import { writeFileAtomically } from "./atomic-file.ts";
import { diskFull, saysDiskFull } from "./host/disk.ts";
import { words } from "./outcome.ts";

/** One instance the agent answers for. Its spec is kept without variables: the runtime has them. */
const instanceRecordSchema = z.object({
  spec: instanceSpecSchema,
  startedAt: z.number(),
  runtimeId: z.string().optional(),
  readyAfterMs: z.number().optional(),
  state: z.enum(INSTANCE_REPORTS),
  /** In words, for anything but `ready`. */
  cause: z.string().optional(),
  /** When it ended by itself or had to be restarted, of late: epoch ms, oldest first. */
  exits: z.array(z.number()).default([]),
  /** A stop was begun: not to be probed or restarted any more. */
  stopping: z.boolean().default(false),
});
export type InstanceRecord = z.infer<typeof instanceRecordSchema>;

const outcomeSchema = z.union([
  z.object({ ok: z.literal(true), value: jobResultSchema }),
  z.object({ ok: z.literal(false), error: jobErrorSchema }),
]);

/** A hook that was begun here. Kept after it is over: it is never begun again. */
const runRecordSchema = z.object({
  /** Empty: no hook, but `process`, or a person's command. */
  hook: z.string(),
  process: z.string().optional(),
  app: z.string(),
  /** Empty in journals from before. */
  environment: z.string().default(""),
  version: z.string(),
  command: z.array(z.string()),
  /** What an exit is explained by. Absent in journals from before. */
  housing: instanceSpecSchema.pick({ image: true, container: true }).optional(),
  begunAt: z.number(),
  /** By this host's clock. */
  deadlineAt: z.number(),
  outcome: outcomeSchema.optional(),
  /** Control asked for its end: when. */
  stopAskedAt: z.number().optional(),
  /** The runtime no longer has it. */
  removed: z.boolean().default(false),
});
export type RunRecord = z.infer<typeof runRecordSchema>;

const finishedJobSchema = z.object({
  lease: z.string(),
  outcome: outcomeSchema,
  /** Of a `run` job. */
  run: z.string().optional(),
});
export type FinishedJob = z.infer<typeof finishedJobSchema>;

/** An image this agent downloaded for a release: what others put on this host is not its to remove. */
const imageRecordSchema = z.object({
  /** What it was asked for by, where that was a tag. */
  tags: z.array(z.string()),
  /** When it was last pulled or started, by environment id. */
  usedAt: z.record(z.string(), z.number()),
});
export type ImageRecord = z.infer<typeof imageRecordSchema>;

const stateSchema = z.object({
  /** Highest fence seen, by environment id. */
  fences: z.record(z.string(), z.number()),
  instances: z.record(z.string(), instanceRecordSchema),
  /** By run id. Absent in journals from before there were hooks. */
  runs: z.record(z.string(), runRecordSchema).default({}),
  /** By pinned reference. */
  images: z.record(z.string(), imageRecordSchema).default({}),
  /** Images whose signatures held, each with the key it held by, as a hash; newest last. */
  verified: z.array(z.string()).default([]),
  /** Which variables are secrets, by name, for each `app/environment`. Never their values. */
  secretNames: z.record(z.string(), z.array(z.string())).default({}),
  /** Results control has not acknowledged. */
  finished: z.record(z.string(), finishedJobSchema),
});
export type JournalState = z.infer<typeof stateSchema>;

/**
 * What the agent must still know after it was killed. Memory changes at once; the promise of `update` resolves when a
 * write that holds the change has been made. Changes made while a write is under way share the next one.
 */
export class Journal {
  readonly #file: string;
  readonly #onTrouble: (message: string) => void;
  readonly #state: JournalState;
  #writing: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;
  #written = true;
  #isDiskFull = false;
  #closed = false;

  constructor(file: string, state: JournalState, onTrouble: (message: string) => void) {
    this.#file = file;
    this.#onTrouble = onTrouble;
    this.#state = state;
  }

  get state(): Readonly<JournalState> {
    return this.#state;
  }

  get directory(): string {
    return path.dirname(this.#file);
  }

  /** Whether that is why the last write failed. */
  get isDiskFull(): boolean {
    return this.#isDiskFull;
  }

  update(change: (state: JournalState) => void): Promise<void> {
    change(this.#state);
    // What ends after the agent has left is the next agent's to find out: the file may be its own by now.
    if (this.#closed) return Promise.resolve();
    this.#next ??= this.#writing.then(() => {
      this.#next = undefined;
      this.#writing = this.#write();
      return this.#writing;
    });
    return this.#next;
  }

  /** An update for what must not be done unless it is known to be on disk. Answers whether it is. */
  async persist(change: (state: JournalState) => void): Promise<boolean> {
    await this.update(change);
    return this.#written && !this.#closed;
  }

  /** A full disk must not end the watch over instances: memory goes on, and the next change writes all of it again. */
  async #write(): Promise<void> {
    try {
      await writeFileAtomically(this.#file, JSON.stringify(this.#state));
      this.#written = true;
      this.#isDiskFull = false;
    } catch (thrown) {
      this.#written = false;
      this.#isDiskFull = saysDiskFull(words(thrown));
      const trouble = `${this.#file} can't be written, a crash now would lose what it should hold (${words(thrown)})`;
      const full = this.#isDiskFull && (await diskFull(trouble, this.directory));
      this.#onTrouble(full && !full.ok ? full.error.message : trouble);
    }
  }

  /** Writes what is left, and nothing after it. */
  async close(): Promise<void> {
    await this.update(() => {});
    this.#closed = true;
  }
}

const empty = (): JournalState => ({
  fences: {},
  instances: {},
  runs: {},
  images: {},
  secretNames: {},
  verified: [],
  finished: {},
});

/**
 * Opens the journal in a directory, or begins one. One that can't be read is put aside: the agent goes on from the
 * runtime's labels, since refusing to run would help nobody. `onTrouble` is told of that, and of failing writes.
 */
export async function openJournal(directory: string, onTrouble: (message: string) => void): Promise<Journal> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const file = path.join(directory, "journal.json");
  const text = await readFile(file, "utf8").catch(() => undefined); // first start
  if (text === undefined) return new Journal(file, empty(), onTrouble);
  const parsed = stateSchema.safeParse(parseJson(text));
  if (parsed.success) return new Journal(file, parsed.data, onTrouble);
  const aside = `${file}.unreadable-${Date.now()}`;
  await rename(file, aside);
  onTrouble(`the journal could not be read and was put aside as ${aside}; going on from what runs`);
  return new Journal(file, empty(), onTrouble);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON is as unreadable as JSON of another shape: the schema refuses undefined.
    return undefined;
  }
}
