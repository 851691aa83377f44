import { EventSourceParserStream } from "eventsource-parser/stream";
import { keepLines } from "../../domain/rollout/analysis/asked-request.ts";
import type { Draft } from "../../domain/rollout/draft.ts";
import type { EnvironmentFacts } from "../../domain/rollout/facts.ts";
import type { AskedRequest, FoundLines } from "../../domain/rollout/release.ts";
import { RequestLines } from "../../protocol/agent/request-lines.ts";
import { type LogLineView, logEndSchema, logHostSchema, logLinesSchema } from "../../protocol/api/logs.ts";
import type { ControlEnv } from "../env.ts";
import { newId } from "../ids.ts";
import { objectIn } from "../objects.ts";
import { LOG_TIMES, type LogOrder } from "../streams/log-order.ts";

/** Kept of a request. */
const MOST = { lines: 20, bytes: 4_096 };
/** Of its instance's last lines, where none holds the id. */
const MOST_NEAR = 10;
/** Clocks of hosts are told from their polls, to about this. */
const SKEW_MS = 1_000;
const UNMARKED = "no line of the app holds its id (log the header X-Request-Id to have them here)";

interface Parts {
  readonly env: () => ControlEnv;
  readonly now: () => number;
  /** Drafts a decision from the newest facts, writes it, and goes on from there. */
  readonly write: (change: (draft: Draft) => void) => Promise<void>;
  /** Keeps the object alive for it, and logs what fails. */
  readonly background: (work: Promise<void>) => void;
}

interface Asked {
  readonly facts: EnvironmentFacts;
  readonly release: string;
  readonly request: AskedRequest;
}

/**
 * Asks hosts what an app wrote of a request that failed, as `sluice logs` does and beside the turn: no move of traffic waits for it.
 * Whoever hasn't answered by the request's deadline isn't asked again.
 */
export class RequestLog {
  readonly #parts: Parts;
  readonly #asked = new Set<string>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Asks for what is owed, unless it is being asked for. */
  tend(facts: EnvironmentFacts): void {
    for (const { id: release, failedRequest: request } of facts.releases) {
      if (!request || request.found || request.until <= this.#parts.now() || this.#asked.has(request.id))
        continue;
      this.#asked.add(request.id);
      const asking = this.#ask({ facts, release, request });
      this.#parts.background(asking.finally(() => this.#asked.delete(request.id)));
    }
  }

  async #ask(asked: Asked): Promise<void> {
    const { release, request } = asked;
    const found = await this.#find(asked).catch((error: unknown) => ({
      lines: [],
      note: `its lines could not be read: ${error instanceof Error ? error.message : String(error)}`,
    }));
    await this.#parts.write((draft) => keepLines(draft, { release, request: request.id }, found));
  }

  async #find(asked: Asked): Promise<FoundLines> {
    const { request } = asked;
    const own = await this.#read(asked, { tail: null, request: request.id });
    if (own.lines.length > 0) return { lines: bounded(own.lines), note: null };
    if (own.trouble !== null) return { lines: [], note: own.trouble };
    const near = await this.#read(asked, { tail: MOST_NEAR });
    const lines = bounded(near.lines.slice(-MOST_NEAR));
    const since = `; these are the last lines of ${request.host} since then`;
    return { lines, note: lines.length > 0 ? UNMARKED + since : UNMARKED };
  }

  async #read(asked: Asked, which: Pick<LogOrder, "tail" | "request">): Promise<Read> {
    const { env, now } = this.#parts;
    const order = orderOf(asked, which, now());
    const { lastsMs } = order.times;
    const relay = objectIn(env().LOG_RELAY, order.stream, env());
    const answer = await relay.fetch("https://relay/", {
      method: "POST",
      body: JSON.stringify(order),
      signal: AbortSignal.timeout(lastsMs + SKEW_MS),
    });
    if (!answer.body) throw new Error(`the log relay answered ${answer.status}`);
    return readEvents(answer.body, asked.request, which);
  }
}

function orderOf(
  { facts, release, request }: Asked,
  which: Pick<LogOrder, "tail" | "request">,
  now: number,
): LogOrder {
  const lastsMs = Math.max(SKEW_MS, request.until - now);
  return {
    stream: newId("log", now),
    token: null,
    app: facts.app,
    environment: facts.name,
    scope: { environmentId: facts.id, release, accessory: null, host: request.host },
    follow: false,
    from: now,
    since: request.since - SKEW_MS,
    after: [],
    ...which,
    times: { ...LOG_TIMES, lastsMs, heartbeatMs: lastsMs },
  };
}

interface Read {
  readonly lines: string[];
  /** Why they may not be all there are, in words. */
  readonly trouble: string | null;
}

/** Reads until all is said, or enough. */
async function readEvents(
  stream: ReadableStream<Uint8Array>,
  { instance, host }: AskedRequest,
  { request }: Pick<LogOrder, "request">,
): Promise<Read> {
  const lines: string[] = [];
  let trouble: string | null = `${host} did not send its lines in time`;
  // An agent of before sends all.
  const about = request === undefined ? undefined : new Map<LogLineView["stream"], RequestLines>();
  const isWanted = (line: LogLineView): boolean => {
    if (line.instance !== instance) return false;
    if (!about || request === undefined) return true;
    const own = about.get(line.stream) ?? new RequestLines(request);
    about.set(line.stream, own);
    return own.takes(line.text);
  };
  const events = stream.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  for await (const { event, data } of events) {
    const said: unknown = JSON.parse(data);
    if (event === "lines")
      lines.push(
        ...logLinesSchema
          .parse(said)
          .lines.filter(isWanted)
          .map(({ text }) => text),
      );
    if (event === "host") trouble = troubleOf(logHostSchema.parse(said)) ?? trouble;
    if (event === "end") {
      const { answered, message } = logEndSchema.parse(said);
      return { lines, trouble: answered.length > 0 ? null : (trouble ?? message) };
    }
    if (lines.length >= MOST.lines) return { lines, trouble: null };
  }
  return { lines, trouble };
}

const troubleOf = ({ state, message }: { state: string; message: string }): string | null =>
  state === "offline" || state === "silent" || state === "trouble" ? message : null;

function bounded(lines: readonly string[]): string[] {
  const kept: string[] = [];
  let left = MOST.bytes;
  for (const line of lines.slice(0, MOST.lines)) {
    const bytes = new TextEncoder().encode(line);
    if (bytes.length > left) {
      const begun = new TextDecoder().decode(bytes.subarray(0, Math.max(0, left))).replace(/\ufffd+$/, "");
      return begun ? [...kept, `${begun}…`] : kept;
    }
    kept.push(line);
    left -= bytes.length;
  }
  return kept;
}
