import { once } from "node:events";
import { Agent, type IncomingMessage, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

/** What visitors met in one phase. */
export interface PhaseCounts {
  requests: number;
  failed: number;
  /** First failures in words, for whoever has to find out. */
  readonly failures: string[];
}

export interface LoadOptions {
  readonly edgeUrl: string;
  readonly hostname: string;
  /** Requests per second, GET and POST together. */
  readonly rate: number;
  /** Told of each failure; a phase's counts keep only the first few. */
  readonly onFailure?: (phase: string, failure: string) => void;
}

const VISITORS = 10;
/** Of ten visitors, so many post. */
const POSTERS = 3;
const TIMEOUT_MS = 10_000;
const KEPT_FAILURES = 5;
const POST_BODY = JSON.stringify({ text: "x".repeat(2_000) });

type Kind = { readonly method: "GET" | "POST"; readonly path: string; readonly body?: string };
const GET: Kind = { method: "GET", path: "/" };
const POST: Kind = { method: "POST", path: "/echo", body: POST_BODY };

/**
 * Visitors at a steady pace, each over a keep-alive connection of its own: GET and POST, counted per phase and per version
 * that answered. Not autocannon: it sends each second's share at once and idles for the rest of it, so that a switch mostly
 * meets silence, and it takes a connection that is closed without an answer for no failure.
 */
export class Load {
  readonly #options: LoadOptions;
  readonly #phases = new Map<string, PhaseCounts>();
  readonly #firstSeen = new Map<string, number>();
  readonly #lastSeen = new Map<string, number>();
  #phase = "before";
  #leaving = new AbortController();
  #visits: Promise<void>[] = [];

  constructor(options: LoadOptions) {
    this.#options = options;
  }

  /** All counts from here on belong to `name`. */
  phase(name: string): void {
    this.#phase = name;
  }

  counts(name: string): PhaseCounts {
    return this.#phases.get(name) ?? { requests: 0, failed: 0, failures: [] };
  }

  /** Epoch ms of the first answer that a version gave. */
  firstSeen(version: string): number | undefined {
    return this.#firstSeen.get(version);
  }

  /** Epoch ms of the last answer that a version gave. */
  lastSeen(version: string): number | undefined {
    return this.#lastSeen.get(version);
  }

  start(): void {
    this.#leaving = new AbortController();
    const everyMs = (1_000 * VISITORS) / this.#options.rate;
    this.#visits = Array.from({ length: VISITORS }, (_, index) =>
      this.#visit(index < POSTERS ? POST : GET, { everyMs, beginsAfterMs: (everyMs * index) / VISITORS }),
    );
  }

  /** No new requests; resolves when those under way have ended. */
  async stop(): Promise<void> {
    this.#leaving.abort();
    await Promise.all(this.#visits.splice(0));
  }

  /** One visitor: a request each `everyMs`, or as soon as the one before has its answer. */
  async #visit(kind: Kind, pace: { everyMs: number; beginsAfterMs: number }): Promise<void> {
    const { signal } = this.#leaving;
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    let next = performance.now() + pace.beginsAfterMs;
    for (;;) {
      // Cut short by leaving only, which the next line asks for.
      await sleep(Math.max(0, next - performance.now()), undefined, { signal }).catch(() => {});
      if (signal.aborted) break;
      next = Math.max(next + pace.everyMs, performance.now());
      await this.#ask(kind, agent);
    }
    agent.destroy();
  }

  async #ask({ method, path, body }: Kind, agent: Agent): Promise<void> {
    const { edgeUrl, hostname } = this.#options;
    const headers = { host: hostname, "content-type": "application/json" };
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    try {
      const outgoing = request(`${edgeUrl}${path}`, { agent, method, headers, signal });
      const answered = once(outgoing, "response");
      outgoing.end(body);
      const [incoming] = (await answered) as [IncomingMessage];
      const chunks: Buffer[] = [];
      for await (const chunk of incoming) chunks.push(chunk);
      this.#answered(`${method} ${path}`, incoming.statusCode ?? 0, Buffer.concat(chunks).toString());
    } catch (error) {
      const words = signal.aborted ? `no whole answer within ${TIMEOUT_MS / 1_000} s` : String(error);
      this.#count(`${method} ${path}: ${words}`);
    }
  }

  #answered(what: string, status: number, body: string): void {
    const version = /"version":"([^"]+)"/.exec(body)?.[1];
    if (version) {
      if (!this.#firstSeen.has(version)) this.#firstSeen.set(version, Date.now());
      this.#lastSeen.set(version, Date.now());
    }
    this.#count(status >= 200 && status < 300 ? null : `${what} answered ${status}: ${body.slice(0, 200)}`);
  }

  #count(failure: string | null): void {
    const counts = this.counts(this.#phase);
    counts.requests += 1;
    if (failure !== null) {
      counts.failed += 1;
      if (counts.failures.length < KEPT_FAILURES) counts.failures.push(failure);
      this.#options.onFailure?.(this.#phase, failure);
    }
    this.#phases.set(this.#phase, counts);
  }
}
