import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { UnavailableError } from "./deadline.ts";
import { checkHealth } from "./health.ts";
import { cookieOf, RequestError, readJson, sendJson } from "./http.ts";
import { listOrders, placeOrder } from "./orders.ts";
import { catalogue, page } from "./page.ts";
import { sessionCookie, startSession, userOf } from "./sessions.ts";
import { settings } from "./settings.ts";
import { ensureUser, readUser } from "./users.ts";

type Handler = (request: IncomingMessage, response: ServerResponse) => Promise<void> | void;

let isStopping = false;

const underWay = new Set<ServerResponse>();

/** From now on /ready says no, and no connection is kept for a next request. */
export function announceStop(): void {
  isStopping = true;
  for (const response of underWay) closeAfter(response);
}

/** Whoever keeps a connection open must not send its next request to a shop that leaves. */
function closeAfter(response: ServerResponse): void {
  if (!response.headersSent) response.setHeader("connection", "close");
}

const checks: Record<string, Handler> = {
  "/live": (_request, response) => sendJson(response, 200, { live: true }),
  "/health": async (_request, response) => {
    const health = await checkHealth();
    sendJson(response, health.status === "unhealthy" ? 503 : 200, health);
  },
  "/ready": async (_request, response) => {
    const { status } = await checkHealth();
    const ready = !isStopping && status !== "unhealthy";
    sendJson(response, ready ? 200 : 503, { ready, reason: isStopping ? "stopping" : status });
  },
};

const pages: Record<string, Handler> = {
  "GET /": (_request, response) => {
    response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
    response.end(page());
  },
  "POST /login": logIn,
  "GET /me": async (request, response) => {
    const user = await readUser(await theUser(request));
    if (!user) throw new RequestError(401, "this user is gone: log in again");
    sendJson(response, 200, { ...user, version: settings.version });
  },
  "POST /orders": order,
  "GET /orders": async (request, response) =>
    sendJson(response, 200, { orders: await listOrders(await theUser(request)) }),
};

/** An address is all it takes: put your own proof of who somebody is here. */
async function logIn(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { email } = await readJson(request);
  if (typeof email !== "string" || !/^[^\s@]{1,64}@[^\s@]{1,190}$/.test(email)) {
    throw new RequestError(400, "`email` must be an address such as ann@example.com");
  }
  const session = await startSession(await ensureUser(email.toLowerCase()));
  const isSecure = request.headers["x-forwarded-proto"] === "https";
  response.setHeader("set-cookie", sessionCookie(session, isSecure));
  sendJson(response, 200, { email: email.toLowerCase(), version: settings.version });
}

async function order(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const userId = await theUser(request);
  const { id = randomUUID(), item, quantity = 1 } = await readJson(request);
  if (typeof id !== "string" || !/^[\w-]{8,64}$/.test(id)) {
    throw new RequestError(400, "`id` must be 8–64 letters, digits, _ or -: a UUID of yours");
  }
  if (typeof item !== "string" || !Object.hasOwn(catalogue, item)) {
    throw new RequestError(400, `\`item\` must be one of ${Object.keys(catalogue).join(", ")}`);
  }
  if (typeof quantity !== "number" || !Number.isInteger(quantity) || quantity < 1 || quantity > 100) {
    throw new RequestError(400, "`quantity` must be a whole number from 1 to 100");
  }
  const placed = await placeOrder(userId, { id, item, quantity });
  if (placed === "taken") throw new RequestError(409, `the id ${id} belongs to a different order`);
  sendJson(response, placed === "created" ? 201 : 200, { id, item, quantity, version: settings.version });
}

async function theUser(request: IncomingMessage): Promise<string> {
  const session = cookieOf(request, "sid");
  const userId = session && (await userOf(session));
  if (!userId) throw new RequestError(401, "log in first: POST /login");
  return userId;
}

async function route(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname } = new URL(request.url ?? "/", "http://localhost");
  const check = checks[pathname];
  if (check) return check(request, response);
  if (settings.latencyMs > 0) await sleep(settings.latencyMs);
  if (Math.random() < settings.errorRate) throw new Error(`ERROR_RATE is ${settings.errorRate}`);
  const method = request.method === "HEAD" ? "GET" : request.method;
  const handler = pages[`${method} ${pathname}`];
  if (!handler) throw new RequestError(404, `no ${request.method} ${pathname} here`);
  return handler(request, response);
}

/** Answers one request; never rejects. */
export async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  response.setHeader("x-version", settings.version);
  if (isStopping) closeAfter(response);
  underWay.add(response);
  response.once("close", () => underWay.delete(response));
  try {
    await route(request, response);
  } catch (error) {
    fail(error, request, response);
  }
}

function fail(error: unknown, request: IncomingMessage, response: ServerResponse): void {
  // The visitor left, or half an answer is on its way: there is nobody to tell.
  if (response.destroyed || response.headersSent) return void response.destroy();
  if (error instanceof RequestError) return sendJson(response, error.status, { error: error.message });
  console.error(`shop ${settings.version}: ${request.method} ${request.url} failed:`, error);
  if (!(error instanceof UnavailableError)) return sendJson(response, 500, { error: "something went wrong" });
  response.setHeader("retry-after", "2");
  sendJson(response, 503, { error: "the shop can't do this right now: try again in a moment" });
}
