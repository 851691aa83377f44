/** A real app for the edge to send to: Node's HTTP and WebSocket servers on loopback, behaving as the path says. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";

export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  /** Name, value, name, value, … as they came. */
  readonly rawHeaders: readonly string[];
  readonly headers: IncomingMessage["headers"];
}

export interface Origin {
  readonly url: string;
  readonly host: string;
  readonly seen: SeenRequest[];
  readonly server: Server;
  readonly sockets: Set<WebSocket>;
  /** Cuts every connection and listens no more. */
  stop(): Promise<void>;
}

/** Starts an app. `handle` answers; without it, the app echoes what it got, as JSON, under its `name`. */
export async function startOrigin(name: string, handle?: RequestListener, port = 0): Promise<Origin> {
  const seen: SeenRequest[] = [];
  const server = createServer((request, response) => {
    const { method = "", url = "", rawHeaders, headers } = request;
    seen.push({ method, url, rawHeaders, headers });
    (handle ?? echo(name))(request, response);
  });
  const webSockets = new WebSocketServer({ server, handleProtocols: (offered) => [...offered][0] ?? false });
  webSockets.on("connection", (socket, request) => {
    socket.on("message", (data, isBinary) => {
      if (String(data) === "close 4321") socket.close(4321, "as asked");
      else socket.send(isBinary ? data : `${name} ${request.url} ${String(data)}`, { binary: isBinary });
    });
  });
  // Node closes idle connections after 5 s, sometimes just as the edge uses one again: no test is about that.
  server.keepAliveTimeout = 0;
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const { port: listening } = server.address() as AddressInfo;
  const host = `127.0.0.1:${listening}`;
  return {
    url: `http://${host}`,
    host,
    seen,
    server,
    sockets: webSockets.clients,
    stop: async () => {
      for (const socket of webSockets.clients) socket.terminate();
      server.closeAllConnections();
      if (!server.listening) return;
      server.close();
      await once(server, "close");
    },
  };
}

/** The body's length and hash, so that a test can compare what was sent with what arrived. */
function echo(name: string): RequestListener {
  return async (request, response) => {
    const hash = createHash("sha256");
    let bytes = 0;
    for await (const chunk of request) {
      bytes += chunk.length;
      hash.update(chunk);
    }
    const { method, url, headers } = request;
    response.setHeader("Content-Type", "application/json");
    response.end(JSON.stringify({ name, method, url, headers, bytes, sha256: hash.digest("hex") }));
  };
}
