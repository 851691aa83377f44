import { once } from "node:events";
import http from "node:http";
import { type WebSocket, WebSocketServer } from "ws";
import type { ClaimAnswer } from "../../src/protocol/agent/claim.ts";
import { type Enroll, enrollSchema } from "../../src/protocol/agent/enroll.ts";
import { type HealthReport, healthSchema } from "../../src/protocol/agent/health.ts";
import { type JobDone, jobDoneSchema, jobProgressSchema } from "../../src/protocol/agent/job-results.ts";
import { type Job, jobSchema } from "../../src/protocol/agent/jobs.ts";
import { type LogLine, logChunkSchema } from "../../src/protocol/agent/logs.ts";
import { type Poll, pollSchema } from "../../src/protocol/agent/poll.ts";
import type { TunnelAnswer } from "../../src/protocol/agent/tunnel.ts";
import { WAKE } from "../../src/protocol/agent/wire.ts";

/** What control answers instead of its usual answer. */
export type Fault =
  | { status: number; code: string; detail?: string }
  /** Does what was asked, then cuts the connection: the answer is lost. */
  | "lost-answer"
  /** As if the request had never come, and nothing is answered. */
  | "hang";

const REQUESTS = [
  "enroll",
  "poll",
  "health",
  "progress",
  "done",
  "rotate",
  "tunnel",
  "logs",
  "claim",
] as const;
type Request = (typeof REQUESTS)[number];

/**
 * Control as the agent sees it, scripted by a test: it parses every message with the protocol's schemas, so a wrong one
 * fails the test by its 400, and keeps what it was told.
 */
export class FakeControl {
  readonly #server = http.createServer((request, response) => void this.#handle(request, response));
  readonly #sockets = new WebSocketServer({ noServer: true });
  readonly #faults = new Map<Request, Fault[]>();
  readonly #always = new Map<Request, Fault>();
  #queue: Job[] = [];
  #port = 0;
  #changed: () => void = () => {};
  readonly polls: Poll[] = [];
  readonly done: { id: string; done: JobDone }[] = [];
  readonly progress: { id: string; message: string }[] = [];
  readonly reports: HealthReport[] = [];
  readonly #newest = new Map<string, { boot: string; seq: number }>();
  readonly enrollments: Enroll[] = [];
  /** What was sent of logs, taken or not. */
  readonly chunks: ReturnType<typeof logChunkSchema.parse>[] = [];
  /** Log lines that were taken. */
  readonly lines: LogLine[] = [];
  /** How chunks are answered. */
  logs: { wanted: boolean; taken: boolean } = { wanted: true, taken: true };
  /** Messages that did not parse: none, in a passing test. */
  readonly invalid: string[] = [];
  /** Tokens that requests were made with, in order, each once in a row. */
  readonly tokens: string[] = [];
  /** By job: which of its variables are secrets. */
  secretNames: Record<string, string[]> = {};
  /** By logs job: the request that lines are to be about. */
  requests: Record<string, string> = {};
  /** What `rotate` hands out; the poll asks for it until it is used. */
  nextToken: string | undefined;
  readonly unknownTokens = new Set<string>();
  tunnel: TunnelAnswer = { state: "none" };
  /** What a claim of an instance is answered with. */
  claim: ClaimAnswer = { environmentId: "env-1", env: {}, secretNames: [] };
  readonly claims: string[] = [];
  tunnelRev: number | undefined;
  /** Every request, in order. */
  readonly asked: Request[] = [];
  /** Tokens that the wake-up socket was opened with. */
  readonly socketTokens: string[] = [];
  /** Who requests and the wake-up socket said they were. */
  readonly userAgents = new Set<string | undefined>();
  /** Control's clock against this machine's. */
  skewMs = 0;
  pollAfterMs = 60_000;
  leaseMs = 10_000;

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Opens, on the same port as before if it was open once. */
  async open(): Promise<this> {
    this.#server.removeAllListeners("upgrade");
    this.#server.on("upgrade", (request, socket, head) =>
      this.#sockets.handleUpgrade(request, socket, head, (client) => {
        this.userAgents.add(request.headers["user-agent"]);
        this.socketTokens.push(request.headers.authorization?.replace("Bearer ", "") ?? "");
        this.#changed();
        client.on("message", (message) => message.toString() === "ping" && client.send("pong"));
        this.#sockets.emit("connection", client, request);
      }),
    );
    this.#server.listen(this.#port, "127.0.0.1");
    await once(this.#server, "listening");
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("no address");
    this.#port = address.port;
    return this;
  }

  async close(): Promise<void> {
    for (const client of this.#sockets.clients) client.terminate();
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  /** Hands a job out with the next poll and wakes the agent. A job without the usual fields gets them. */
  give(job: JobInput): string {
    const now = Date.now() + this.skewMs;
    const lease = `lease-${Math.random().toString(36).slice(2, 8)}`;
    const usual = {
      lease,
      environmentId: "env-1",
      fence: 1,
      deadlineAt: now + 60_000,
      leaseExpiresAt: now + this.leaseMs,
    };
    const parsed = jobSchema.parse({ ...usual, ...job });
    this.#queue.push(parsed);
    this.wake();
    return parsed.lease;
  }

  wake(): void {
    for (const client of this.#sockets.clients as Set<WebSocket>) client.send(WAKE);
  }

  /** Answers the next request of that kind with a fault. */
  failNext(request: Request, ...faults: Fault[]): void {
    this.#faults.set(request, [...(this.#faults.get(request) ?? []), ...faults]);
  }

  failAlways(request: Request, fault: Fault | undefined): void {
    if (fault) this.#always.set(request, fault);
    else this.#always.delete(request);
  }

  /** The outcome of a job, once it is reported. */
  async result(id: string): Promise<JobDone> {
    await this.until(() => this.done.some((one) => one.id === id), `job ${id} is done`);
    const found = this.done.findLast((one) => one.id === id);
    if (!found) throw new Error(`job ${id} is not done`);
    return found.done;
  }

  /** Waits until something the agent said makes the condition true. */
  async until(condition: () => boolean, what: string, withinMs = 60_000): Promise<void> {
    const deadline = Date.now() + withinMs;
    while (!condition()) {
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`after ${withinMs} ms still not: ${what}. ${this.#story()}`);
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#changed = resolve;
      const timer = setTimeout(resolve, Math.min(left, 250));
      await promise;
      clearTimeout(timer);
    }
  }

  #story(): string {
    const { done, reports, invalid } = this;
    return JSON.stringify({ polls: this.polls.length, lastPoll: this.polls.at(-1), done, reports, invalid });
  }

  async #handle(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const body: Buffer[] = [];
    for await (const chunk of request) body.push(chunk);
    const [kind, id] = routeOf(request.url ?? "");
    const fault = this.#faults.get(kind)?.shift() ?? this.#always.get(kind);
    this.asked.push(kind);
    if (fault === "hang") return this.#changed();
    if (fault && fault !== "lost-answer") return refuse(response, fault);
    this.userAgents.add(request.headers["user-agent"]);
    const token = request.headers.authorization?.replace("Bearer ", "");
    if (token !== undefined && this.unknownTokens.has(token))
      return refuse(response, { status: 401, code: "unauthenticated" });
    if (token && this.tokens.at(-1) !== token) this.tokens.push(token);
    try {
      const answer = this.#answer(kind, id, JSON.parse(Buffer.concat(body).toString("utf8")));
      if (fault === "lost-answer") response.destroy();
      else response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer));
    } catch (thrown) {
      this.invalid.push(`${request.url}: ${thrown}`);
      refuse(response, { status: 400, code: "invalid_request", detail: String(thrown) });
    }
    this.#changed();
  }

  /** At least once is what the agent promises: like control, the same or an older number of one boot is ignored. */
  #report(boot: string, report: HealthReport): void {
    const last = this.#newest.get(report.instance);
    if (last?.boot === boot && report.seq <= last.seq) return;
    this.#newest.set(report.instance, { boot, seq: report.seq });
    this.reports.push(report);
  }

  #chunk(chunk: ReturnType<typeof logChunkSchema.parse>): unknown {
    this.chunks.push(chunk);
    if (this.logs.wanted && this.logs.taken) this.lines.push(...chunk.lines);
    const after = Object.fromEntries(this.lines.map(({ instance, cursor }) => [instance, cursor]));
    return { ...this.logs, ...(chunk.hello && { after }) };
  }

  #answer(kind: Request, id: string, body: unknown): unknown {
    const now = Date.now() + this.skewMs;
    if (kind === "poll") {
      this.polls.push(pollSchema.parse(body));
      const { pollAfterMs, tunnelRev } = this;
      const rotate = this.nextToken !== undefined && this.tokens.at(-1) !== this.nextToken;
      const beside = { secrets: this.secretNames, requests: this.requests };
      return { jobs: this.#queue.splice(0), ...beside, now, pollAfterMs, tunnelRev, rotate };
    }
    if (kind === "rotate") return { token: this.nextToken };
    if (kind === "tunnel") return this.tunnel;
    if (kind === "claim") {
      this.claims.push(id);
      return this.claim;
    }
    if (kind === "health") {
      const { boot, reports } = healthSchema.parse(body);
      for (const report of reports) this.#report(boot, report);
    }
    if (kind === "logs") return this.#chunk(logChunkSchema.parse(body));
    if (kind === "done") this.done.push({ id, done: jobDoneSchema.parse(body) });
    if (kind === "enroll") {
      this.enrollments.push(enrollSchema.parse(body));
      return { host: { id: "host-1", name: "one" }, token: "slu_host", slots: [] };
    }
    if (kind === "progress") this.progress.push({ id, message: jobProgressSchema.parse(body).message });
    return { leaseExpiresAt: now + this.leaseMs };
  }
}

type JobInput = Record<string, unknown> & { id: string; kind: Job["kind"] };

function routeOf(url: string): [Request, string] {
  const [, , , noun = "", id = "", verb = ""] = url.split("/");
  const kind = noun === "jobs" || noun === "instances" ? verb : noun;
  const known = REQUESTS.find((one) => one === kind);
  if (known) return [known, id];
  throw new Error(`the agent asked for ${url}`);
}

function refuse(response: http.ServerResponse, fault: Exclude<Fault, string>): void {
  const { status, code, detail = code } = fault;
  const problem = { type: `urn:${code}`, title: code, status, code, detail, next: [] };
  response.writeHead(status, { "content-type": "application/problem+json" }).end(JSON.stringify(problem));
}
