/** Visitors who stay for longer than a moment: uploads and event streams, each watched to its end. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { Agent, type ClientRequest, type IncomingMessage, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

/** Streamed over some time, so that a switch falls into them. */
const CHUNK = Buffer.alloc(64 * 1024, "u");
const CHUNKS = 16;
const CHUNK_EVERY_MS = 30;
const UPLOAD_SHA256 = createHash("sha256")
  .update(Buffer.concat(Array.from({ length: CHUNKS }, () => CHUNK)))
  .digest("hex");
/** 3 s. An instance must drain for longer than a stream lasts. */
const EVENTS = 15;
const EVENT_EVERY_MS = 200;
const TIMEOUT_MS = 20_000;

export interface VisitorsOptions {
  readonly edgeUrl: string;
  readonly hostname: string;
  readonly uploaders: number;
  readonly listeners: number;
  /** The phase in which it began, and what happened. */
  readonly onFailure: (phase: string, failure: string) => void;
}

export interface VisitorCounts {
  uploads: number;
  streams: number;
}

/** Each visitor begins anew as soon as its last upload or stream is over. */
export class Visitors {
  /** Those that ended, well or not. */
  readonly counts: VisitorCounts = { uploads: 0, streams: 0 };
  readonly #options: VisitorsOptions;
  #phase = "before";
  #isLeaving = false;
  #visits: Promise<void>[] = [];

  constructor(options: VisitorsOptions) {
    this.#options = options;
  }

  /** What begins from here on belongs to `name`. */
  phase(name: string): void {
    this.#phase = name;
  }

  start(): void {
    const { uploaders, listeners } = this.#options;
    this.#visits = [
      ...Array.from({ length: uploaders }, () => this.#visit("uploads", (agent) => this.#upload(agent))),
      ...Array.from({ length: listeners }, (_, n) =>
        this.#visit("streams", (agent) => this.#listen(agent), (n * EVENTS * EVENT_EVERY_MS) / listeners),
      ),
    ];
  }

  /** Resolves when those under way have ended. */
  async stop(): Promise<void> {
    this.#isLeaving = true;
    await Promise.all(this.#visits.splice(0));
  }

  async #visit(
    kind: keyof VisitorCounts,
    visit: (agent: Agent) => Promise<void>,
    beginsAfterMs = 0,
  ): Promise<void> {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    await sleep(beginsAfterMs);
    while (!this.#isLeaving) {
      const phase = this.#phase;
      const began = Date.now();
      try {
        await visit(agent);
      } catch (error) {
        const words = error instanceof Error ? error.message : String(error);
        const until = this.#phase === phase ? "" : `, ended in ${this.#phase}`;
        this.#options.onFailure(phase, `${kind}: ${words} (after ${Date.now() - began} ms${until})`);
        // A failure at once must not become a flood of them.
        await sleep(EVENT_EVERY_MS);
      }
      this.counts[kind] += 1;
    }
    agent.destroy();
  }

  async #upload(agent: Agent): Promise<void> {
    const outgoing = this.#request(agent, { method: "POST", path: "/echo" });
    // An answer may come before the upload is over: that of an edge which gave up.
    const answered = answerOf(outgoing);
    await Promise.race([send(outgoing), answered]);
    const { status, text } = await wholeOf(await answered);
    if (status !== 200) throw new Error(`answered ${status}: ${text.slice(0, 200)}`);
    if (!text.includes(UPLOAD_SHA256)) throw new Error(`arrived otherwise than sent: ${text.slice(0, 200)}`);
  }

  async #listen(agent: Agent): Promise<void> {
    const path = `/sse?count=${EVENTS}&ms=${EVENT_EVERY_MS}`;
    const outgoing = this.#request(agent, { method: "GET", path }).end();
    const { status, text, cut } = await wholeOf(await answerOf(outgoing));
    if (status !== 200) throw new Error(`answered ${status}: ${text.slice(0, 200)}`);
    const ids = [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id));
    const version = /"version":"([^"]+)"/.exec(text)?.[1];
    const isWhole = ids.length === EVENTS && ids.every((id, index) => id === index + 1);
    if (isWhole && cut === null) return;
    throw new Error(`${version}'s stream ended after event ${ids.at(-1)} of ${EVENTS}: ${cut ?? "in order"}`);
  }

  #request(agent: Agent, { method, path }: { method: string; path: string }): ClientRequest {
    const { edgeUrl, hostname } = this.#options;
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    return request(`${edgeUrl}${path}`, { agent, method, headers: { host: hostname }, signal });
  }
}

const answerOf = async (outgoing: ClientRequest): Promise<IncomingMessage> =>
  ((await once(outgoing, "response")) as [IncomingMessage])[0];

async function send(outgoing: ClientRequest): Promise<void> {
  for (let n = 0; n < CHUNKS && !outgoing.destroyed; n += 1) {
    outgoing.write(CHUNK);
    await sleep(CHUNK_EVERY_MS);
  }
  outgoing.end();
}

/** All that came; `cut` says how it broke off, if it did. */
async function wholeOf(
  incoming: IncomingMessage,
): Promise<{ status: number; text: string; cut: string | null }> {
  const chunks: Buffer[] = [];
  let cut: string | null = null;
  try {
    for await (const chunk of incoming) chunks.push(chunk);
  } catch (error) {
    cut = String(error);
  }
  return { status: incoming.statusCode ?? 0, text: Buffer.concat(chunks).toString(), cut };
}
