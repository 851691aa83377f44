import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { access } from "./access.ts";
import { LIMITS } from "./account-limits.ts";
import { accounts } from "./accounts.ts";
import { analytics } from "./analytics.ts";
import { type Endpoint, envelope, type Form, type Permission, page, Refusal, refused } from "./api.ts";
import { d1 } from "./d1.ts";
import { dnsRecords } from "./dns-records.ts";
import { type Fault, Faults, wordsOf } from "./faults.ts";
import { kv } from "./kv.ts";
import { r2 } from "./r2.ts";
import { tunnels } from "./tunnels.ts";
import { workerDomains } from "./worker-domains.ts";
import { workerRoutes } from "./worker-routes.ts";
import { workerScripts } from "./worker-scripts.ts";
import { createWorld, type Unknowns, type World, type Zone } from "./world.ts";
import { zoneSettings } from "./zone-settings.ts";

/**
 * A stand-in of Cloudflare's API over HTTP: it keeps state, refuses what the API refuses, and fails when asked to. It is
 * stricter than the API where that lets a wrong call fail in a test: a key or a query that no type of the SDK knows is refused.
 */
const RESOURCES = [
  accounts,
  analytics,
  zoneSettings,
  dnsRecords,
  tunnels,
  workerRoutes,
  access,
  workerScripts,
  workerDomains,
  d1,
  kv,
  r2,
];

type ZoneOptions = Partial<Omit<Zone, "id">> & Pick<Zone, "name">;

export interface CloudflareOptions {
  /** Absent: `api-token`, with every permission. */
  readonly tokens?: Readonly<Record<string, readonly Permission[] | "all">>;
  readonly zones?: readonly (string | ZoneOptions)[];
  /** Workers that are deployed already. */
  readonly scripts?: readonly string[];
  /** What no documentation says, otherwise than assumed. */
  readonly unknowns?: Partial<Unknowns>;
  readonly isMigrated?: boolean;
}

export interface LoggedCall {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly body: unknown;
  /** 0: the connection was dropped. */
  readonly status: number;
  readonly permission: Permission | null;
}

export interface Cloudflare {
  /** The SDK's `baseURL`. */
  readonly url: string;
  readonly log: LoggedCall[];
  readonly state: World;
  /** Another account, empty again, at the same address. Its ids are those of the one before. */
  reset(options?: CloudflareOptions): void;
  fail(fault: Fault): void;
  /** Forgets the faults that nothing met. */
  heal(): void;
  close(): Promise<void>;
}

export const API_TOKEN = "api-token";

export async function startCloudflare(options: CloudflareOptions = {}): Promise<Cloudflare> {
  let inside = open(options);
  const server = createServer((request, response) => void serve(inside, request, response));
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/client/v4`,
    get log() {
      return inside.log;
    },
    get state() {
      return inside.world;
    },
    reset: (next = {}) => {
      inside = open(next);
    },
    fail: (fault) => inside.faults.add(fault),
    heal: () => inside.faults.clear(),
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const CALM = { botFightMode: false, level: "medium" };

function open(options: CloudflareOptions): Inside {
  const world = createWorld();
  Object.assign(world.unknowns, options.unknowns);
  world.isMigrated = options.isMigrated ?? false;
  for (const [token, permissions] of Object.entries(options.tokens ?? { [API_TOKEN]: "all" as const }))
    world.tokens.set(
      token,
      permissions === "all" ? ["Account › * › Edit", "Zone › * › Edit"] : [...permissions],
    );
  for (const zone of options.zones ?? ["example.com"]) {
    const given = typeof zone === "string" ? { name: zone } : zone;
    const usual = {
      maxRecords: LIMITS.records,
      maxRoutes: LIMITS.routes,
      status: "active" as const,
      account: world.account,
      security: CALM,
    };
    world.zones.push({ id: world.hexId(), ...usual, ...given });
  }
  for (const script of options.scripts ?? ["sluice-control", "sluice-edge"]) world.scripts.add(script);
  const endpoints = RESOURCES.flatMap((resource) => resource(world)).map(compile);
  return { world, endpoints, log: [], faults: new Faults(), window: { from: Date.now(), calls: 0 } };
}

interface Inside {
  readonly world: World;
  readonly endpoints: readonly Compiled[];
  readonly log: LoggedCall[];
  readonly faults: Faults;
  /** Calls of these five minutes; from: epoch ms. */
  window: { readonly from: number; calls: number };
}
type Compiled = Endpoint & { readonly pattern: RegExp };

const compile = (endpoint: Endpoint): Compiled => ({
  ...endpoint,
  pattern: new RegExp(`^/client/v4${endpoint.path.replace(/:([a-z]+)/g, "(?<$1>[^/]+)")}$`),
});

async function serve(inside: Inside, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { method = "" } = request;
  const url = new URL(request.url ?? "/", "http://api.cloudflare.test");
  // A port that was another's a moment ago still gets that one's visitors.
  if (!url.pathname.startsWith("/client/v4/")) return void response.writeHead(404).end();
  const bytes = await buffer(request);
  const sent = bytes.toString();
  const endpoint = inside.endpoints.find((one) => one.method === method && one.pattern.test(url.pathname));
  const fault = inside.faults.take(method, url.pathname);
  const form = await formOf(request, bytes);
  if (isTooMany(inside)) {
    response.setHeader("retry-after", String(WINDOW_MS / 1_000));
    response.writeHead(429, { "content-type": "application/json" });
    return void response.end(JSON.stringify(refused(wordsOf(429))));
  }
  let answer =
    fault && !fault.afterWork ? null : handle(inside.world, { endpoint, request, url, sent, form });
  if (fault) answer = fault.answer === "drop" ? null : failure(fault.answer);
  const path = url.pathname.slice("/client/v4".length) + url.search;
  const body = sent === "" ? undefined : parse(sent);
  inside.log.push({
    method,
    path,
    body,
    status: answer?.status ?? 0,
    permission: endpoint?.permission ?? null,
  });
  if (!answer) return void request.socket.destroy();
  if (fault?.retryAfterS !== undefined) response.setHeader("retry-after", String(fault.retryAfterS));
  response.writeHead(answer.status, { "content-type": "application/json" });
  response.end(JSON.stringify(answer.body));
}

const WINDOW_MS = 300_000;

function isTooMany(inside: Inside): boolean {
  if (Date.now() - inside.window.from >= WINDOW_MS) inside.window = { from: Date.now(), calls: 0 };
  inside.window.calls += 1;
  return inside.window.calls > LIMITS.calls;
}

/** The parts of a multipart body, read. */
async function formOf(request: IncomingMessage, bytes: Buffer): Promise<Form | undefined> {
  const type = request.headers["content-type"] ?? "";
  if (!type.startsWith("multipart/form-data")) return undefined;
  const form = await new Response(new Uint8Array(bytes), { headers: { "content-type": type } }).formData();
  const parts = [...form].map(async ([name, part]) => [
    name,
    typeof part === "string" ? part : await part.text(),
  ]);
  return Object.fromEntries(await Promise.all(parts));
}

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

const failure = (status: number): Answer => ({ status, body: refused(wordsOf(status)) });

interface Arrived {
  readonly endpoint: Compiled | undefined;
  readonly request: IncomingMessage;
  readonly url: URL;
  readonly sent: string;
  readonly form: Form | undefined;
}

function handle(world: World, arrived: Arrived): Answer {
  try {
    return { status: 200, body: work(world, arrived) };
  } catch (error) {
    if (error instanceof Refusal) return { status: error.status, body: refused(error) };
    throw error;
  }
}

function work(world: World, { endpoint, request, url, sent, form }: Arrived): unknown {
  if (!endpoint) throw new Refusal(404, 7000, `No route for ${request.method} ${url.pathname}`);
  authorize(world, request.headers.authorization, endpoint.permission);
  const query = Object.fromEntries(url.searchParams);
  const known = [...(endpoint.query ?? []), ...(endpoint.pages ? ["page", "per_page"] : [])];
  const odd = Object.keys(query).find((name) => !known.includes(name));
  if (odd !== undefined) throw new Refusal(400, 1004, `unknown query parameter ${odd}`);
  const params = endpoint.pattern.exec(url.pathname)?.groups ?? {};
  const body = endpoint.body && parseBody(endpoint.body, sent);
  const result = endpoint.handle({ params, query, body, form });
  return endpoint.pages ? page(result as unknown[], endpoint.pages, query) : envelope(result);
}

function parseBody(schema: NonNullable<Endpoint["body"]>, sent: string): unknown {
  const parsed = schema.safeParse(parse(sent));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new Refusal(400, 1004, `invalid body at ${issue?.path.join(".") || "its top"}: ${issue?.message}`);
}

function parse(sent: string): unknown {
  try {
    return JSON.parse(sent);
  } catch {
    return undefined;
  }
}

function authorize(world: World, header: string | undefined, needed: Permission | null): void {
  if (header === undefined) throw new Refusal(400, 9106, "Missing Authorization header");
  const granted = world.tokens.get(/^Bearer (.+)$/.exec(header)?.[1] ?? "");
  if (!granted) throw new Refusal(401, 1000, "Invalid API Token");
  if (needed === null || granted.some((permission) => covers(permission, needed))) return;
  throw new Refusal(403, 10_000, "Authentication error");
}

/** `Edit` includes `Read`; `*` is any. */
function covers(granted: Permission, needed: Permission): boolean {
  const [scope, what, how] = granted.split(" › ");
  const [neededScope, neededWhat, neededHow] = needed.split(" › ");
  return (
    scope === neededScope && (what === "*" || what === neededWhat) && (how === "Edit" || how === neededHow)
  );
}
