/** Clients for the edge: one that speaks HTTP properly, and one that sends what it is given. */
import { once } from "node:events";
import { Agent, type IncomingHttpHeaders, request } from "node:http";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
  readonly text: string;
}

export interface Ask {
  readonly port: number;
  readonly path?: string;
  readonly method?: string;
  readonly host?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string | Buffer | Iterable<Buffer> | AsyncIterable<Buffer>;
  readonly signal?: AbortSignal;
}

const agent = new Agent({ keepAlive: true, maxSockets: 64 });

/** Sends a request to the edge and reads the whole answer; rejects when the connection breaks. */
export async function ask(options: Ask): Promise<Answer> {
  const { port, path = "/", method = "GET", host = "shop.test", headers = {}, body, signal } = options;
  // Node declares no length for the body of a DELETE, which would then be read as the next request.
  const isWhole = typeof body === "string" || Buffer.isBuffer(body);
  const length = isWhole ? { "content-length": String(Buffer.byteLength(body)) } : {};
  const outgoing = request({
    agent,
    port,
    path,
    method,
    headers: { host, ...length, ...headers } as Record<string, string>,
    ...(signal && { signal }),
  });
  const answered = once(outgoing, "response");
  if (body !== undefined && typeof body !== "string" && !Buffer.isBuffer(body)) {
    for await (const chunk of body) if (!outgoing.write(chunk)) await once(outgoing, "drain");
    outgoing.end();
  } else outgoing.end(body);
  const [incoming] = await answered;
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk);
  const whole = Buffer.concat(chunks);
  return {
    status: incoming.statusCode,
    headers: incoming.headers,
    rawHeaders: incoming.rawHeaders,
    body: whole,
    text: whole.toString(),
  };
}

/**
 * Sends bytes and gives back all that comes until the other side closes or nothing more has come for `quietMs`; nothing at all
 * for `silentMs`.
 */
export async function sendRaw(
  port: number,
  bytes: string | Buffer,
  { quietMs = 300, silentMs = 20_000 } = {},
): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  let received = "";
  let closed = false;
  let lastAt = Date.now();
  socket.on("data", (chunk) => {
    received += chunk.toString("latin1");
    lastAt = Date.now();
  });
  socket.on("error", () => {
    // A reset is one of the answers a raw test expects; what came before it is what counts.
  });
  socket.on("close", () => {
    closed = true;
  });
  socket.write(bytes);
  while (!closed && Date.now() - lastAt < (received === "" ? silentMs : quietMs)) await sleep(10);
  socket.destroy();
  return received;
}
