import autocannon from "autocannon";

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
}

const CONNECTIONS = 10;
const POST_SHARE = 0.3;
const TIMEOUT_S = 10;
const KEPT_FAILURES = 5;
const POST_BODY = JSON.stringify({ text: "x".repeat(2_000) });

/** Visitors at a steady pace over keep-alive connections: GET and POST, counted per phase and per version that answered. */
export class Load {
  readonly #options: LoadOptions;
  readonly #runs: autocannon.Instance[] = [];
  readonly #phases = new Map<string, PhaseCounts>();
  readonly #firstSeen = new Map<string, number>();
  readonly #lastSeen = new Map<string, number>();
  #phase = "before";

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
    this.#runs.push(this.#run("GET", "/", 1 - POST_SHARE), this.#run("POST", "/echo", POST_SHARE));
  }

  async stop(): Promise<void> {
    const runs = this.#runs.splice(0);
    const ended = runs.map((run) => new Promise((resolve) => run.once("done", resolve)));
    for (const run of runs) run.stop();
    await Promise.all(ended);
  }

  #run(method: "GET" | "POST", path: string, share: number): autocannon.Instance {
    const { edgeUrl, hostname, rate } = this.#options;
    const options: autocannon.Options = {
      url: edgeUrl,
      connections: Math.ceil(CONNECTIONS * share),
      overallRate: Math.ceil(rate * share),
      duration: 3_600,
      timeout: TIMEOUT_S,
      headers: { host: hostname, "content-type": "application/json" },
      requests: [
        {
          method,
          path,
          ...(method === "POST" ? { body: POST_BODY } : {}),
          onResponse: (status, body) => this.#answered(`${method} ${path}`, status, body),
        },
      ],
    };
    // The form with a callback answers the instance itself; what it ends with is counted here already.
    const run = autocannon(options, () => {});
    run.on("reqError", (error: Error) => this.#count(`${method} ${path}: ${error.message}`));
    return run;
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
    }
    this.#phases.set(this.#phase, counts);
  }
}
