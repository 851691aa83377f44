import type { InstanceSpec } from "../../src/protocol/agent/instance.ts";
import type { Job } from "../../src/protocol/agent/jobs.ts";
import { RequestLines } from "../../src/protocol/agent/request-lines.ts";
import type { Clock } from "../clock.ts";
import type { Control } from "../control/control.ts";
import type { Instances } from "../instances/instances.ts";
import type { Journal } from "../journal.ts";
import { LogOutbox } from "../logs/outbox.ts";
import { LogSender } from "../logs/sender.ts";
import { words } from "../outcome.ts";
import { scopeOf } from "../redaction/scope.ts";
import type { Secrets } from "../redaction/secrets.ts";
import type { LogItem, LogSource, Reading, Runtime } from "../runtime/runtime.ts";
import { Signal } from "../signal.ts";

export type LogsJob = Extract<Job, { kind: "logs" }>;

export interface LogsDeps {
  runtime: Runtime;
  instances: Instances;
  journal: Journal;
  control: Control;
  clock: Clock;
  secrets: Secrets;
}

/** A log to read, and as what its lines are sent. */
interface Source {
  of: LogSource;
  instance: string;
  version: string;
  reading: Omit<Reading, "follow">;
}

/**
 * Sends log lines until all is sent, nobody reads any more, or the signal aborts. `skewMs`: this host's clock less control's;
 * `request`: the id of one that the lines are to be about.
 */
export async function logs(
  job: LogsJob,
  deps: LogsDeps,
  at: { skewMs: number; signal: AbortSignal; request?: string | undefined },
): Promise<void> {
  const over = new AbortController();
  const signal = AbortSignal.any([at.signal, over.signal]);
  const changed = new Signal(deps.clock);
  const outbox = new LogOutbox(() => changed.raise());
  const sender = new LogSender({ ...deps, stream: job.stream, outbox, changed, signal });
  const after = await sender.hello();
  if (!after) return;
  const reading = new LogReading({ ...at, job, deps, after, outbox, signal });
  const read = async () => {
    await reading.past();
    sender.isLive = true;
    changed.raise();
    if (job.follow) await reading.present();
    sender.isOver = true;
    changed.raise();
  };
  signal.addEventListener("abort", () => outbox.release(), { once: true });
  const reads = read();
  await sender.run();
  over.abort();
  await reads;
}

interface LogReadingParts {
  job: LogsJob;
  deps: LogsDeps;
  /** By instance: what control has of it already. */
  after: Readonly<Record<string, string>>;
  outbox: LogOutbox;
  skewMs: number;
  signal: AbortSignal;
  request?: string | undefined;
}

class LogReading {
  readonly #parts: LogReadingParts;
  readonly #cursors: Map<string, string>;
  readonly #followed = new Map<string, Promise<void>>();
  readonly #past: Source[];

  constructor(parts: LogReadingParts) {
    this.#parts = parts;
    this.#cursors = new Map(Object.entries(parts.after));
    this.#past = this.#sources();
  }

  /** What was written before: all logs at once, each line in its place among those of the others. */
  async past(): Promise<void> {
    const readers = this.#past.map((source) => ({
      source,
      items: this.#read(source, false),
    }));
    const heads = await Promise.all(
      readers.map(async ({ source, items }) => ({ source, items, head: await items.next() })),
    );
    for (;;) {
      const left = heads.filter(({ head }) => !head.done);
      const [first, ...others] = left;
      if (!first || this.#parts.signal.aborted) break;
      const next = others.reduce((a, b) => (timeOf(b.head.value) < timeOf(a.head.value) ? b : a), first);
      if (!next.head.done) await this.#keep(next.source, next.head.value);
      next.head = await next.items.next();
    }
    for (const { items } of heads) await items.return(undefined);
  }

  /** What is written from now on, also by instances that start meanwhile. Until the signal aborts. */
  async present(): Promise<void> {
    const { job, deps, signal } = this.#parts;
    if (signal.aborted) return;
    const ended = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => ended.resolve(), { once: true });
    const unwatch =
      job.accessory === undefined && job.run === undefined
        ? deps.instances.onWatch((spec) => this.#started(spec))
        : () => {};
    for (const source of this.#past) this.#follow({ ...source, reading: afterPast(source.reading) });
    // Those that started while the past was read.
    for (const source of this.#sources()) this.#follow(source);
    await ended.promise;
    unwatch();
    await Promise.all(this.#followed.values());
  }

  #started(spec: InstanceSpec): void {
    if (this.#isWanted(spec)) this.#follow(sourceOf(spec, {}));
  }

  #follow(source: Source): void {
    const { instance } = source;
    if (this.#followed.has(instance)) return;
    const follow = async () => {
      for await (const item of this.#read(source, true)) await this.#keep(source, item);
    };
    this.#followed.set(
      instance,
      follow().finally(() => this.#followed.delete(instance)),
    );
  }

  async *#read(source: Source, follow: boolean): AsyncGenerator<LogItem> {
    const { deps, signal, outbox, request } = this.#parts;
    const about = request === undefined ? undefined : aboutRequest(request);
    const after = this.#cursors.get(source.instance);
    const reading = after === undefined ? { ...source.reading, follow } : { after, follow };
    try {
      for await (const item of deps.runtime.follow(source.of, reading, signal)) {
        // What comes after it goes nowhere.
        if (signal.aborted) return;
        if (!about || about(item)) yield item;
      }
    } catch (thrown) {
      if (!signal.aborted) outbox.complain(`the log of ${source.instance} can't be read: ${words(thrown)}`);
    }
  }

  async #keep({ instance, version }: Source, item: LogItem): Promise<void> {
    const { job, deps, outbox, skewMs, signal } = this.#parts;
    if ("droppedBytes" in item) return outbox.drop(item.droppedBytes);
    this.#cursors.set(instance, item.cursor);
    const text = deps.secrets.hide(scopeOf(job), item.text);
    await outbox.add({ ...item, text, at: item.at - skewMs, instance, version }, signal);
  }

  #sources(): Source[] {
    const { job, deps, skewMs } = this.#parts;
    const before = {
      ...(job.since !== undefined && { since: job.since + skewMs }),
      ...(job.tail !== undefined && { tail: job.tail }),
    };
    const { accessory, run } = job;
    if (run !== undefined) return [{ of: { run }, instance: run, version: "", reading: before }];
    if (accessory !== undefined)
      return [{ of: { accessory }, instance: accessory, version: "", reading: before }];
    return Object.values(deps.journal.state.instances)
      .filter(({ spec, runtimeId }) => runtimeId !== undefined && this.#isWanted(spec))
      .map(({ spec, startedAt }) => sourceOf(spec, startedAt > job.from + skewMs ? {} : before));
  }

  #isWanted({ app, environment, release }: InstanceSpec): boolean {
    const { job } = this.#parts;
    const isOfRelease = job.release === undefined || job.release === release;
    return app === job.app && environment === job.environment && isOfRelease;
  }
}

const sourceOf = ({ instance, version }: InstanceSpec, reading: Source["reading"]): Source => ({
  of: { instance },
  instance,
  version,
  reading,
});

/** "The last lines" were read: from a log that had none, all is new. */
const afterPast = ({ tail, ...reading }: Source["reading"]): Source["reading"] =>
  tail === 0 ? { ...reading, tail } : reading;

/** Looked for in each of the app's streams by itself: what is written to one may come between two lines of the other. */
function aboutRequest(id: string): (item: LogItem) => boolean {
  const streams = { stdout: new RequestLines(id), stderr: new RequestLines(id) };
  return (item) => "droppedBytes" in item || streams[item.stream].takes(item.text);
}

const timeOf = (item: LogItem | undefined): number => (item && "at" in item ? item.at : 0);
