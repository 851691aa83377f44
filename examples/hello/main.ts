import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

/** Switches, so that a release can be made to go wrong on purpose. */
const settings = {
  port: Number(process.env.PORT ?? 3000),
  version: process.env.SLUICE_VERSION ?? "dev",
  release: process.env.SLUICE_RELEASE ?? "",
  instance: process.env.SLUICE_INSTANCE ?? "",
  /** How long until /health and /ready say yes. */
  bootMs: Number(process.env.BOOT_MS ?? 0),
  /** Share of requests (0–1) answered 500. */
  errorRate: Number(process.env.ERROR_RATE ?? 0),
  /** Added to each answer. */
  latencyMs: Number(process.env.LATENCY_MS ?? 0),
  /** `fail`: /ready never says yes. */
  ready: process.env.READY ?? "",
  /** Any value: exits with code 1 before it listens. */
  crashOnStart: process.env.CRASH_ON_START ?? "",
};

type Handler = (request: IncomingMessage, response: ServerResponse, url: URL) => Promise<void> | void;

const startedAt = Date.now();
let isStopping = false;

const isBooted = () => Date.now() - startedAt >= settings.bootMs;
const isReady = () => isBooted() && !isStopping && settings.ready !== "fail";

const checks: Record<string, Handler> = {
  "/live": (_request, response) => sendJson(response, 200, { live: true }),
  "/health": (_request, response) =>
    sendJson(response, isBooted() ? 200 : 503, { status: isBooted() ? "healthy" : "booting" }),
  "/ready": (_request, response) =>
    sendJson(response, isReady() ? 200 : 503, {
      ready: isReady(),
      ...(isStopping && { reason: "stopping" }),
      ...(settings.ready === "fail" && { reason: "READY=fail" }),
    }),
};

const pages: Record<string, Handler> = {
  "GET /": (_request, response) =>
    sendJson(response, 200, {
      app: "hello",
      version: settings.version,
      release: settings.release,
      instance: settings.instance,
      pid: process.pid,
    }),
  "POST /echo": echo,
  "GET /slow": async (_request, response, url) => {
    const ms = Math.min(Number(url.searchParams.get("ms") ?? 1000) || 0, 60_000);
    await sleep(ms);
    sendJson(response, 200, { waitedMs: ms, version: settings.version });
  },
  "GET /sse": sse,
};

async function echo(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of request) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  sendJson(response, 200, { bytes, sha256: hash.digest("hex"), version: settings.version });
}

/** Counts until the visitor leaves; `?count=` ends it earlier. A stopping app ends its streams after the current event. */
async function sse(_request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
  const count = Number(url.searchParams.get("count") ?? Number.POSITIVE_INFINITY);
  const everyMs = Number(url.searchParams.get("ms") ?? 200);
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  for (let id = 1; id <= count && !isStopping && !response.destroyed; id++) {
    response.write(`id: ${id}\ndata: ${JSON.stringify({ id, version: settings.version })}\n\n`);
    await sleep(everyMs);
  }
  response.end();
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  // Whoever keeps a connection open must not send its next request to an app that leaves.
  if (isStopping) response.setHeader("connection", "close");
  response.writeHead(status, { "content-type": "application/json", "x-version": settings.version });
  response.end(`${JSON.stringify(body)}\n`);
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? "/", "http://localhost");
  const check = checks[url.pathname];
  if (check) return check(request, response, url);
  if (settings.latencyMs > 0) await sleep(settings.latencyMs);
  if (Math.random() < settings.errorRate) {
    return sendJson(response, 500, { error: `ERROR_RATE=${settings.errorRate}`, version: settings.version });
  }
  const method = request.method === "HEAD" ? "GET" : request.method;
  const page = pages[`${method} ${url.pathname}`];
  if (page) return page(request, response, url);
  sendJson(response, 404, { error: `no ${request.method} ${url.pathname} here` });
}

if (settings.crashOnStart) {
  console.error(`hello ${settings.version}: CRASH_ON_START is set, giving up`);
  process.exit(1);
}

const server = createServer((request, response) => {
  answer(request, response).catch((error) => {
    // The visitor left in the middle of an upload: there is nobody to answer.
    console.error(`hello ${settings.version}: ${request.method} ${request.url} failed:`, error);
    response.destroy();
  });
});
// Longer than whoever stands in front keeps idle connections (cloudflared: 90 s), so that it is never us who closes one
// at the moment a request is sent into it.
server.keepAliveTimeout = 95_000;
server.listen(settings.port, "0.0.0.0", () =>
  console.log(`hello ${settings.version} listens on ${settings.port}`),
);

/** Not ready any more, no new connections, idle ones closed; requests under way are finished. */
function stop(signal: NodeJS.Signals): void {
  if (isStopping) return;
  isStopping = true;
  console.log(`hello ${settings.version}: ${signal}, finishing what is under way`);
  server.close(() => process.exit(0));
  server.closeIdleConnections();
}
process.on("SIGTERM", stop);
process.on("SIGINT", stop);
