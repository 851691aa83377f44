import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { type EnvironmentView, environmentSchema } from "../../../src/protocol/api/environments.ts";
import { type EventView, eventSchema } from "../../../src/protocol/api/events.ts";
import type { InstanceView } from "../../../src/protocol/api/instances.ts";
import { type ReleaseView, releaseSchema } from "../../../src/protocol/api/releases.ts";
import { type Problem, type ProblemCode, problemSchema } from "../../../src/protocol/problem.ts";

/** A control plane whose answers a test writes. What it sends is checked by the protocol's own schemas first. */
interface Asked {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: string;
}
interface Answering {
  json(status: number, body: unknown, headers?: Record<string, string>): void;
  problem(
    problem: Partial<Problem> & { code: ProblemCode; status: number },
    headers?: Record<string, string>,
  ): void;
  empty(status: number): void;
  raw(status: number, type: string, body: string, headers?: Record<string, string>): void;
  /** An SSE stream, held open until `end` or `drop`. */
  feed(): Feed;
  /** Cuts the connection without an answer. */
  drop(): void;
  /** Resolves when the client has gone. */
  readonly gone: Promise<void>;
}
interface Feed {
  event(event: EventView): void;
  heartbeat(): void;
  raw(text: string): void;
  end(): void;
  drop(): void;
}
export type Route = (asked: Asked, answer: Answering, nth: number) => void | Promise<void>;

export interface FakeApi extends AsyncDisposable {
  readonly url: string;
  readonly asked: readonly Asked[];
  /** Resolves when a call to that route has come in. */
  until(route: string): Promise<Asked>;
}

/** Routes are `"GET /api/v1/hosts"`; what isn't there answers 404 as control does. */
export async function fakeApi(routes: Readonly<Record<string, Route>>): Promise<FakeApi> {
  const asked: Asked[] = [];
  const waiting: { route: string; resolve: (asked: Asked) => void }[] = [];
  const counts = new Map<string, number>();
  const sockets = new Set<Socket>();
  const server = createServer(async (request, response) => {
    const call = await read(request);
    const key = `${call.method} ${call.path}`;
    const nth = (counts.get(key) ?? 0) + 1;
    counts.set(key, nth);
    asked.push(call);
    for (const waiter of waiting.filter((entry) => entry.route === key)) waiter.resolve(call);
    const answer = answering(request, response);
    const route = routes[key];
    if (!route) return answer.problem({ code: "not_found", status: 404, detail: `nothing at ${key}` });
    await route(call, answer, nth);
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo; // It listens on TCP, so this is one.
  return {
    url: `http://127.0.0.1:${port}`,
    asked,
    until(route) {
      const before = asked.find((call) => `${call.method} ${call.path}` === route);
      return before ? Promise.resolve(before) : new Promise((resolve) => waiting.push({ route, resolve }));
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** An address where nothing listens any more. */
export async function closedUrl(): Promise<string> {
  await using api = await fakeApi({});
  return api.url;
}

async function read(request: IncomingMessage): Promise<Asked> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk));
  const url = new URL(request.url ?? "/", "http://fake");
  const headers = Object.fromEntries(
    Object.entries(request.headers).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.join(", ") : value,
    ]),
  );
  return {
    method: request.method ?? "",
    path: url.pathname,
    query: url.searchParams,
    headers,
    body: Buffer.concat(chunks).toString(),
  };
}

function answering(request: IncomingMessage, response: ServerResponse): Answering {
  const raw: Answering["raw"] = (status, type, body, headers = {}) => {
    response.writeHead(status, { "content-type": type, ...headers }).end(body);
  };
  return {
    raw,
    json: (status, body, headers) => raw(status, "application/json", JSON.stringify(body), headers),
    problem(problem, headers) {
      const whole = {
        type: `/problems/${problem.code}`,
        title: problem.code,
        detail: problem.code,
        next: [],
        ...problem,
      };
      raw(problem.status, "application/problem+json", JSON.stringify(problemSchema.parse(whole)), headers);
    },
    empty: (status) => void response.writeHead(status).end(),
    drop: () => void request.socket.destroy(),
    gone: new Promise((resolve) => request.socket.once("close", () => resolve())),
    feed() {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.flushHeaders();
      const write = (text: string) => void response.write(text);
      return {
        event(event) {
          eventSchema.parse(event);
          write(`id: ${event.id}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
        },
        heartbeat: () => write("event: heartbeat\ndata: {}\n\n"),
        raw: write,
        end: () => void response.end(),
        // Behind what was sent, which a socket that is destroyed at once would take with it.
        drop: () => request.socket.destroySoon(),
      };
    },
  };
}

// --- resources ----------------------------------------------------------------------------------------------------

/** The moment all made-up resources begin. */
const T0 = Date.parse("2026-11-23T12:00:00.000Z");
export const at = (ms: number) => new Date(T0 + ms).toISOString();

export function anInstance(over: Partial<InstanceView> = {}): InstanceView {
  return {
    id: "ins_1",
    release: "rel_2",
    version: "v2",
    host: "web-1",
    slot: 3,
    state: "ready",
    ready: true,
    cause: null,
    since: at(0),
    ...over,
  };
}

/** A blue-green release `v2` that replaces `v1`. */
export function aRelease(over: Partial<ReleaseView> = {}): ReleaseView {
  return releaseSchema.parse({
    id: "rel_2",
    app: "shop",
    environment: "production",
    version: "v2",
    image: "ghcr.io/acme/shop:2",
    digest: null,
    state: "queued",
    strategy: "blue-green",
    kind: "deploy",
    by: "token:ci",
    git: null,
    weight: 0,
    step: null,
    paused: null,
    verdict: null,
    createdAt: at(0),
    startedAt: null,
    servingAt: null,
    endedAt: null,
    deadlineAt: null,
    warmUntil: null,
    timings: {},
    failure: null,
    traffic: { requests: 0, failed: 0 },
    instances: [],
    plan: {
      instances: [{ host: "web-1", slot: 3 }],
      steps: [{ kind: "weight", weight: 100, forMs: 0, label: "100 %" }],
      atLeastMs: 0,
      hooks: [],
      replaces: { release: "rel_1", version: "v1" },
      keepMs: 600_000,
      rollback: "instant while v1 is kept warm",
      problems: [],
    },
    next: [],
    ...over,
  });
}

export const aServingRelease = (over: Partial<ReleaseView> = {}): ReleaseView =>
  aRelease({
    state: "settling",
    weight: 100,
    startedAt: at(100),
    servingAt: at(12_400),
    traffic: { requests: 18_204, failed: 0 },
    instances: [anInstance()],
    ...over,
  });

export const aFailedRelease = (over: Partial<ReleaseView> = {}): ReleaseView =>
  aRelease({
    state: "failed",
    startedAt: at(100),
    endedAt: at(61_000),
    traffic: { requests: 812, failed: 0 },
    failure: {
      code: "health_status",
      message: "ins_1 never became ready",
      check: { name: "startup probe GET /ready", value: "503", limit: "2xx within 60s" },
      host: "web-1",
      instance: "ins_1",
      logs: ["listening on 3000", "Error: connect ECONNREFUSED 127.0.0.1:5432"],
    },
    next: [{ command: "sluice deploy -a shop -e production --image <ref>", when: "the cause is mended" }],
    ...over,
  });

type Share = readonly [version: string, weight: number, ready?: number];

export function anEnvironment(
  shares: readonly Share[] = [["v1", 100]],
  over: Partial<EnvironmentView> = {},
): EnvironmentView {
  return environmentSchema.parse({
    app: "shop",
    environment: "production",
    hostnames: ["shop.example.com"],
    strategy: "blue-green",
    replicas: 1,
    split: shares.map(([version, weight, ready = 1]) => ({
      release: version.replace("v", "rel_"),
      version,
      weight,
      ready,
      instances: 1,
    })),
    active: null,
    queued: [],
    live: null,
    instances: [],
    lock: null,
    table: { version: 7, publishedAt: at(0) },
    mode: "open",
    rollback: {
      possible: true,
      how: "instant",
      to: { release: "rel_1", version: "v1" },
      reason: "v1 is kept warm",
    },
    next: [],
    ...over,
  });
}

let lastEvent = 0;
export function anEvent(over: Partial<EventView> = {}): EventView {
  lastEvent += 1;
  return {
    id: lastEvent,
    at: at(lastEvent * 100),
    type: "release.state",
    actor: "control",
    app: "shop",
    environment: "production",
    release: "rel_2",
    message: "something happened",
    data: {},
    ...over,
  };
}

export const stateEvent = (
  id: number,
  ms: number,
  state: ReleaseView["state"],
  message: string,
  weight = 0,
) => anEvent({ id, at: at(ms), message, data: { state, weight } });

/** The events of a release that goes well. */
export const GOOD_EVENTS: readonly EventView[] = [
  stateEvent(1, 50, "preparing", "pulling the image on 1 host"),
  stateEvent(2, 900, "starting", "starting 1 instance"),
  anEvent({
    id: 3,
    at: at(950),
    type: "instance.state",
    message: "ins_1 on web-1 slot 3 is starting",
    data: { instance: "ins_1", host: "web-1", slot: 3, state: "starting", cause: null },
  }),
  anEvent({
    id: 4,
    at: at(5_100),
    type: "instance.state",
    message: "ins_1 on web-1 slot 3 is ready",
    data: { instance: "ins_1", host: "web-1", slot: 3, state: "ready", cause: null },
  }),
  stateEvent(5, 5_200, "verifying", "asking ins_1 through its tunnel"),
  stateEvent(6, 6_000, "shifting", "0% → 100%", 100),
  stateEvent(7, 12_400, "settling", "v2 serves all traffic", 100),
];

export const MANIFEST = `app: shop
image: ghcr.io/acme/shop
port: 3000
environments:
  production:
    hostnames: [shop.example.com]
`;
