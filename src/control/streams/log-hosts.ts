import { accessoryId } from "../../domain/accessory.ts";
import { isOnline } from "../../domain/host-online.ts";
import { moment } from "../../domain/times.ts";
import type { LogHostView } from "../../protocol/api/logs.ts";
import type { ControlEnv } from "../env.ts";
import { objectIn } from "../objects.ts";
import type { Db } from "../store/db.ts";
import { dropQueuedLogJobs, findLogHosts, insertLogJobs, type LogHost } from "../store/log-streams.ts";
import type { Standing } from "./log-merge.ts";
import type { LogOrder } from "./log-order.ts";

interface Host extends LogHost {
  state: LogHostView["state"] | "asked";
  heardAt: number;
  lastChunk: string;
  /** It sent all it had. */
  hasAnswered: boolean;
}

interface LogHostsParts {
  readonly env: ControlEnv;
  readonly db: Db;
  readonly order: LogOrder;
  readonly now: () => number;
  /** What the reader is to know of a host. */
  readonly say: (view: LogHostView) => void;
  readonly stand: (host: string, standing: Standing) => void;
}

/** The hosts that a log stream has asked for their lines, and how each answers. */
export class LogHosts {
  readonly #parts: LogHostsParts;
  readonly #hosts = new Map<string, Host>();

  constructor(parts: LogHostsParts) {
    this.#parts = parts;
  }

  get(id: string): Host | undefined {
    return this.#hosts.get(id);
  }

  get names(): string[] {
    return [...this.#hosts.values()].map(({ name }) => name);
  }

  get answered(): string[] {
    return [...this.#hosts.values()].filter(({ hasAnswered }) => hasAnswered).map(({ name }) => name);
  }

  /** Some may answer any moment. */
  get isAwaited(): boolean {
    return [...this.#hosts.values()].some(({ state }) => state === "asked");
  }

  /** None will send anything more. */
  get isDone(): boolean {
    return [...this.#hosts.values()].every(
      ({ state }) => state === "ended" || state === "silent" || state === "offline",
    );
  }

  /** Asks those that have instances and were not asked before. */
  async look(deadlineAt: number): Promise<void> {
    const { env, db, order, now } = this.#parts;
    const found = await findLogHosts(db, order.scope);
    const fresh = found.filter(({ id }) => !this.#hosts.has(id));
    if (fresh.length === 0) return;
    for (const host of fresh) this.#ask(host);
    const { environmentId } = order.scope;
    const job = { environmentId, payload: payloadOf(order), deadlineAt, now: now() };
    await insertLogJobs(
      db,
      fresh.map(({ id }) => ({ ...job, id: this.#jobId(id), hostId: id })),
    );
    // A host without a socket finds the job at its next poll.
    await Promise.allSettled(fresh.map(({ id }) => objectIn(env.HOST_LINK, id, env).wake()));
  }

  #ask(host: LogHost): void {
    const { now, stand } = this.#parts;
    const asked: Host = { ...host, state: "asked", heardAt: now(), lastChunk: "", hasAnswered: false };
    this.#hosts.set(host.id, asked);
    stand(host.name, "asked");
    if (isOnline(host, now())) return;
    const since =
      host.lastSeenAt === null ? "was never heard of" : `is offline since ${moment(host.lastSeenAt)}`;
    this.tell(asked, "offline", `${host.name} ${since}: its lines are missing`);
    stand(host.name, "quiet");
  }

  heard(host: Host): void {
    host.heardAt = this.#parts.now();
    if (host.state !== "joined" && host.state !== "trouble")
      this.tell(host, "joined", `${host.name} sends its lines`);
  }

  /** Says which of them don't answer: they are not waited for any longer. */
  listen(): void {
    const { now, order, stand } = this.#parts;
    const { answerMs, silentMs } = order.times;
    for (const host of this.#hosts.values()) {
      const quietMs = now() - host.heardAt;
      const isLate = host.state === "asked" && quietMs >= answerMs;
      const isLost = (host.state === "joined" || host.state === "trouble") && quietMs >= silentMs;
      if (!isLate && !isLost) continue;
      const seconds = Math.round(quietMs / 1_000);
      this.tell(host, "silent", `${host.name} has not answered for ${seconds} s: its lines are missing`);
      stand(host.name, "quiet");
    }
  }

  tell(host: Host, state: LogHostView["state"], message: string): void {
    host.state = state;
    this.#parts.say({ host: host.name, state, message });
  }

  /** Takes back what no host has begun. */
  async dismiss(): Promise<void> {
    const ids = [...this.#hosts.keys()].map((host) => this.#jobId(host));
    await dropQueuedLogJobs(this.#parts.db, ids);
  }

  #jobId(host: string): string {
    return `${this.#parts.order.stream}-${host}`;
  }
}

function payloadOf({ stream, app, environment, scope, follow, from, since, tail, request }: LogOrder) {
  return {
    stream,
    app,
    environment,
    from,
    follow,
    ...(scope.release !== null && { release: scope.release }),
    ...(scope.accessory !== null && { accessory: accessoryId({ app, environment }, scope.accessory) }),
    ...(scope.run && { run: scope.run }),
    ...(since !== null && { since }),
    ...(tail !== null && { tail }),
    ...(request !== undefined && { request }),
  };
}
