import type { LogChunkAnswer, logChunkSchema } from "../../protocol/agent/logs.ts";
import {
  type LogEndView,
  type LogGapView,
  type LogHostView,
  type LogLineView,
  MAX_PLACES,
} from "../../protocol/api/logs.ts";
import { BoundedMap } from "../bounded-map.ts";
import type { ControlEnv } from "../env.ts";
import { iso } from "../iso.ts";
import { logFailure } from "../log.ts";
import { openDb } from "../store/db.ts";
import { isTokenGood } from "../store/tokens.ts";
import { LogHosts } from "./log-hosts.ts";
import { LogMerge, type MergedLine } from "./log-merge.ts";
import type { LogOrder } from "./log-order.ts";
import { formatPlace } from "./log-place.ts";

/** Of one event: the client's parser holds a whole one. */
const MAX_EVENT = { lines: 200, chars: 200_000 };
/** How often waiting lines are looked at. */
const TURN_MS = 100;
/** Instances whose last line is remembered for agents that restart. */
const MAX_TAKEN = 1_000;

type Host = NonNullable<ReturnType<LogHosts["get"]>>;

interface ViewingParts {
  readonly env: ControlEnv;
  readonly order: LogOrder;
  readonly now: () => number;
  readonly out: WritableStreamDefaultWriter<Uint8Array>;
}

/** From the first question to the hosts until the reader has left, or all is said. */
export class LogViewing {
  readonly #parts: ViewingParts;
  readonly #merge: LogMerge;
  readonly #hosts: LogHosts;
  /** By instance: the last line that was taken from its host, and the last one the reader has. */
  readonly #taken: BoundedMap<string, string>;
  readonly #given: BoundedMap<string, string>;
  readonly #said: { event: string; data: LogHostView | LogGapView }[] = [];
  #isOver = false;
  /** Resolved when something came in, or room was made. */
  #stir = Promise.withResolvers<void>();

  constructor(parts: ViewingParts) {
    this.#parts = parts;
    this.#merge = new LogMerge(parts.order.times);
    this.#hosts = new LogHosts({
      ...parts,
      db: openDb(parts.env.DB),
      say: (data) => this.#said.push({ event: "host", data }),
      stand: (host, standing) => this.#merge.stand(host, standing),
    });
    this.#taken = new BoundedMap(MAX_TAKEN, parts.order.after);
    this.#given = new BoundedMap(MAX_PLACES, parts.order.after);
  }

  async run(): Promise<void> {
    const { out, order } = this.#parts;
    out.closed.catch(() => this.#end()); // How a reader's leaving shows: ordinary, and nothing to log.
    try {
      await this.#serve();
      await out.close();
    } catch (error) {
      if (!this.#isOver) {
        logFailure("logs.failed", error, { stream: order.stream });
        await out.abort(new Error("the log stream was interrupted")).catch(() => undefined); // The reader left meanwhile.
      }
    } finally {
      this.#end();
      await this.#hosts.dismiss().catch((error) => logFailure("logs.dismiss_failed", error));
    }
  }

  async push(
    hostId: string,
    chunk: ReturnType<typeof logChunkSchema.parse>,
  ): Promise<LogChunkAnswer | "foreign"> {
    const host = this.#hosts.get(hostId);
    if (!host) return "foreign";
    if (!(await this.#hasRoom())) return { wanted: !this.#isOver, taken: false };
    const after = chunk.hello ? { after: Object.fromEntries(this.#taken) } : {};
    // Its answer was lost: the same chunk again.
    if (host.lastChunk !== chunk.chunk) this.#take(host, chunk);
    return { wanted: true, taken: true, ...after };
  }

  #take(host: Host, chunk: ReturnType<typeof logChunkSchema.parse>): void {
    host.lastChunk = chunk.chunk;
    this.#hosts.heard(host);
    for (const { instance, cursor } of chunk.lines) this.#taken.set(instance, cursor);
    this.#merge.stand(host.name, chunk.end ? "quiet" : chunk.live ? "live" : "reading");
    this.#merge.push(host.name, chunk.lines, this.#parts.now());
    if (chunk.droppedBytes > 0) {
      const message = `${chunk.droppedBytes} bytes of the log on ${host.name} were rotated away before they were read`;
      this.#said.push({ event: "gap", data: { host: host.name, bytes: chunk.droppedBytes, message } });
    }
    if (chunk.problem !== undefined) this.#hosts.tell(host, "trouble", `${host.name}: ${chunk.problem}`);
    if (chunk.end) {
      host.hasAnswered = chunk.live;
      this.#hosts.tell(host, "ended", `${host.name} has sent all it has`);
    }
    this.#wake();
  }

  /** The reader is waited for, but not for ever: the agent would take the connection for dead. */
  async #hasRoom(): Promise<boolean> {
    const { now, order } = this.#parts;
    const until = now() + order.times.roomMs;
    while (!this.#merge.hasRoom && !this.#isOver && now() < until) await this.#nap(until - now());
    return this.#merge.hasRoom && !this.#isOver;
  }

  async #serve(): Promise<void> {
    const { now, order } = this.#parts;
    const { times } = order;
    const until = now() + times.lastsMs;
    let lookAt = now();
    let beatAt = now() + times.heartbeatMs;
    await this.#send("retry: 2000\n\n");
    while (!this.#isOver && now() < until) {
      if (now() >= lookAt) {
        await this.#hosts.look(until);
        lookAt = order.follow ? now() + times.lookMs : until;
      }
      this.#hosts.listen();
      for (const { event, data } of this.#said.splice(0)) await this.#sendEvent(event, data);
      const lines = this.#merge.take(now(), MAX_EVENT);
      if (lines.length > 0) {
        await this.#sendLines(lines);
        this.#wake();
        continue;
      }
      if (!order.follow && this.#merge.isEmpty && this.#hosts.isDone)
        return this.#sendEvent("end", this.#ending());
      if (now() >= beatAt) {
        beatAt = now() + times.heartbeatMs;
        // The reader comes back, and is told why not.
        if (order.token !== null && !(await isTokenGood(openDb(this.#parts.env.DB), order.token, now())))
          return;
        await this.#sendEvent("heartbeat", { at: iso(now()) });
      }
      // Something may have come in while the reader took that.
      if (this.#said.length > 0) continue;
      const pauseMs = Math.min(lookAt, beatAt, until) - now();
      await this.#nap(this.#merge.isEmpty && !this.#hosts.isAwaited ? pauseMs : Math.min(TURN_MS, pauseMs));
    }
  }

  #ending(): LogEndView {
    const { names: hosts, answered } = this.#hosts;
    const { app, environment, scope } = this.#parts.order;
    const what = scope.accessory ?? (scope.release === null ? "instance" : "instance of that release");
    const where = scope.host === null ? "" : ` on ${scope.host}`;
    const message =
      hosts.length === 0
        ? `no ${what} of ${app}/${environment} is there${where}: its lines went with its containers`
        : `${answered.length} of ${hosts.length} hosts answered`;
    return { hosts, answered, message };
  }

  async #sendLines(lines: readonly MergedLine[]): Promise<void> {
    const { from, since } = this.#parts.order;
    for (const { instance, cursor } of lines) this.#given.set(instance, cursor);
    const views = lines.map(
      ({ at, host, instance, version, stream, text }): LogLineView => ({
        at: iso(at),
        host,
        instance,
        version,
        stream,
        text,
      }),
    );
    const id = formatPlace({ from, since, after: this.#given });
    await this.#send(`id: ${id}\nevent: lines\ndata: ${JSON.stringify({ lines: views })}\n\n`);
  }

  #sendEvent(event: string, data: object): Promise<void> {
    return this.#send(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  /** Resolves when the reader has taken it. */
  async #send(text: string): Promise<void> {
    await this.#parts.out.write(new TextEncoder().encode(text));
  }

  #end(): void {
    this.#isOver = true;
    this.#wake();
  }

  #wake(): void {
    this.#stir.resolve();
    this.#stir = Promise.withResolvers<void>();
  }

  async #nap(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, Math.max(0, ms));
    await Promise.race([promise, this.#stir.promise]);
    clearTimeout(timer);
  }
}
