import http from "node:http";
import { userInfo } from "node:os";
import type { Readable } from "node:stream";
import type { z } from "zod";

/**
 * A client for the Docker Engine API, as small as the agent's use of it. dockerode does this too, but loads ssh2 and gRPC
 * (34 MB resident, measured), and the agent's whole budget is 90 MB.
 *
 * Paths carry no API version: the engine then uses its own newest, and old or new engines both answer.
 */
export interface Engine {
  /** Where it listens, for messages. */
  readonly address: string;
  /** Sends a request and answers the head; the caller reads the body. Throws {@link EngineError} for 4xx and 5xx. */
  request(method: string, path: string, options?: EngineOptions): Promise<http.IncomingMessage>;
  /** Sends a request and answers its JSON, parsed. */
  json<T>(schema: z.ZodType<T>, method: string, path: string, options?: EngineOptions): Promise<T>;
  bytes(method: string, path: string, options?: EngineOptions): Promise<Buffer>;
  /** The engine's progress messages, one object per line. */
  messages(method: string, path: string, options?: EngineOptions): AsyncIterable<unknown>;
}

interface EngineOptions {
  query?: Record<string, string>;
  json?: unknown;
  /** A tar archive. */
  tar?: Buffer | Readable;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

/** The engine answered, and refused. */
export class EngineError extends Error {
  override name = "EngineError";
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/**
 * No engine answers there. `away`: nobody listens, or it broke off in the middle and may have done what was asked for; it
 * may be back in a moment. Else it takes a person.
 */
export class EngineUnavailable extends Error {
  override name = "EngineUnavailable";
  readonly away: boolean;
  constructor(message: string, options: ErrorOptions & { away?: boolean } = {}) {
    super(message, options);
    this.away = options.away ?? false;
  }
}

/** Opens nothing by itself: a client of the engine at `DOCKER_HOST` (unix:// or tcp://), else of the local socket. */
export function createEngine(dockerHost = process.env.DOCKER_HOST): Engine {
  const address = dockerHost || "unix:///var/run/docker.sock";
  const target = parseAddress(address);
  const send = (method: string, path: string, options: EngineOptions = {}) =>
    sendRequest({ address, target, method, path, options });
  return {
    address,
    request: send,
    async json(schema, method, path, options) {
      const body = await readAll(await send(method, path, options), address);
      return schema.parse(JSON.parse(body.toString("utf8")));
    },
    async bytes(method, path, options) {
      return readAll(await send(method, path, options), address);
    },
    async *messages(method, path, options) {
      yield* lines(await send(method, path, options), address);
    },
  };
}

type Target = { socketPath: string } | { host: string; port: number };

function parseAddress(address: string): Target {
  if (address.startsWith("unix://")) return { socketPath: address.slice("unix://".length) };
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url?.protocol !== "tcp:" && url?.protocol !== "http:") {
    throw new Error(`DOCKER_HOST is ${address}: the agent speaks to unix:///path and tcp://host:port only`);
  }
  return { host: url.hostname, port: Number(url.port || 2375) };
}

interface Sending {
  address: string;
  target: Target;
  method: string;
  path: string;
  options: EngineOptions;
}

function sendRequest({ address, target, method, path, options }: Sending): Promise<http.IncomingMessage> {
  const query = options.query ? `?${new URLSearchParams(options.query)}` : "";
  const body = options.json === undefined ? options.tar : Buffer.from(JSON.stringify(options.json));
  const type = options.json === undefined ? "application/x-tar" : "application/json";
  const headers = { ...(body && { "content-type": type }), ...options.headers };
  return new Promise((resolve, reject) => {
    const request = http.request({
      ...target,
      method,
      path: path + query,
      headers,
      agent: false,
      ...(options.signal && { signal: options.signal }),
    });
    request.on("error", (error) => reject(asUnavailable(error, address)));
    request.on("response", (response) => {
      if ((response.statusCode ?? 500) < 400) return resolve(response);
      refusal(response, address).then(reject, reject);
    });
    if (!body || Buffer.isBuffer(body)) request.end(body);
    else body.on("error", (error) => request.destroy(error)).pipe(request);
  });
}

function asUnavailable(error: Error, address: string): Error {
  const code = "code" in error ? String(error.code) : "";
  if (code === "ECONNRESET" || code === "EPIPE") {
    const message = `the Docker engine at ${address} broke the connection off in the middle (${code}): it is being restarted, or it crashed`;
    return new EngineUnavailable(message, { cause: error, away: true });
  }
  if (code === "EACCES" || code === "EPERM") {
    const message = `this agent (user ${userName()}) may not use the Docker engine at ${address} (${code}): run it as root, or add the user to the group that owns the socket (usermod -aG docker ${userName()}) and start it again`;
    return new EngineUnavailable(message, { cause: error });
  }
  if (code !== "ENOENT" && code !== "ECONNREFUSED") return error;
  const message = `no Docker engine answers at ${address} (${code}): start it, or let this user use it`;
  return new EngineUnavailable(message, { cause: error, away: true });
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    // In a container the user may have a number and no name.
    return String(process.getuid?.() ?? "?");
  }
}

async function refusal(response: http.IncomingMessage, address: string): Promise<EngineError> {
  const text = (await readAll(response, address)).toString("utf8");
  let message = text.trim();
  try {
    message = String(JSON.parse(text).message ?? message);
  } catch {
    // A proxy before the engine may answer plain text: then that text is the message.
  }
  return new EngineError(response.statusCode ?? 500, message);
}

async function readAll(stream: Readable, address: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of unbroken(stream, address)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function* lines(stream: Readable, address: string): AsyncIterable<unknown> {
  let rest = "";
  for await (const chunk of unbroken(stream.setEncoding("utf8"), address)) {
    const parts = (rest + chunk).split("\n");
    rest = parts.pop() ?? "";
    for (const part of parts) if (part.trim()) yield JSON.parse(part);
  }
  if (rest.trim()) yield JSON.parse(rest);
}

/** An engine that ends in the middle of an answer is as away as one that never gave any. */
async function* unbroken(stream: Readable, address: string) {
  try {
    yield* stream;
  } catch (thrown) {
    throw thrown instanceof Error ? asUnavailable(thrown, address) : thrown;
  }
}
