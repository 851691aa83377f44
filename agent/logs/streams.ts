import { z } from "zod";
import { logChunkAnswerSchema } from "../../src/protocol/agent/logs.ts";
import { type LogsDeps, type LogsJob, logs } from "../jobs/logs.ts";
import type { Log } from "../log.ts";
import { words } from "../outcome.ts";

/** Each reader of logs costs the host a read of every line. */
const MAX_STREAMS = 8;

interface Asked {
  readonly controlNow: number;
  readonly request: string | undefined;
}

/**
 * The `logs` jobs: they run beside those of releases and take none of their places. Their leases last as long as they do, and
 * their end is told once, at best: a stream that nobody reads is over whether control knows it or not.
 */
export class LogStreams {
  readonly #deps: LogsDeps & { log: Log };
  readonly #running = new Map<string, { lease: string; finished: Promise<void> }>();
  readonly #stop = new AbortController();

  constructor(deps: LogsDeps & { log: Log }) {
    this.#deps = deps;
  }

  /** Jobs that are under way. */
  get jobs(): string[] {
    return [...this.#running.keys()];
  }

  /** Takes a job from a poll's answer. `controlNow` is control's clock at that moment; `request`: only lines about it are wanted. */
  accept(job: LogsJob, controlNow: number, request?: string): void {
    const running = this.#running.get(job.id);
    if (running) running.lease = job.lease;
    else if (this.#running.size >= MAX_STREAMS) void this.#refuse(job);
    else this.#begin(job, { controlNow, request });
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all([...this.#running.values()].map(({ finished }) => finished));
  }

  #begin(job: LogsJob, asked: Asked): void {
    const running = { lease: job.lease, finished: Promise.resolve() };
    this.#running.set(job.id, running);
    running.finished = this.#run(job, asked).finally(() => this.#running.delete(job.id));
  }

  async #run(job: LogsJob, { controlNow, request }: Asked): Promise<void> {
    const { clock, log } = this.#deps;
    const skewMs = clock.now() - controlNow;
    const over = new AbortController();
    const signal = AbortSignal.any([this.#stop.signal, over.signal]);
    void clock.sleep(job.deadlineAt - controlNow, signal).then(() => over.abort());
    log.info("log stream begins", {
      job: job.id,
      stream: job.stream,
      app: job.app,
      environment: job.environment,
    });
    try {
      await logs(job, this.#deps, { skewMs, signal, request });
    } catch (thrown) {
      log.error("log stream broke", { stream: job.stream, error: words(thrown) });
    }
    over.abort();
    if (this.#stop.signal.aborted) return;
    log.info("log stream ended", { stream: job.stream });
    await this.#done(job);
  }

  async #refuse(job: LogsJob): Promise<void> {
    const problem = `this host serves ${MAX_STREAMS} log streams already: end one of them`;
    const chunk = { chunk: job.id.slice(-40), lines: [], end: true, problem };
    await this.#deps.control(`/agent/v1/logs/${job.stream}`, chunk, logChunkAnswerSchema);
    await this.#done(job);
  }

  async #done(job: LogsJob): Promise<void> {
    const lease = this.#running.get(job.id)?.lease ?? job.lease;
    await this.#deps.control(`/agent/v1/jobs/${job.id}/done`, { lease, ok: true, result: {} }, z.object({}));
  }
}
