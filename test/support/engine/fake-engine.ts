import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { createEngine, type Engine } from "../../../agent/runtime/docker/engine.ts";

/** Answers a request; `undefined` is an empty 404. It may write itself, and break off with `response.destroy()`. */
type Answer = (request: http.IncomingMessage, response: http.ServerResponse) => unknown;

export interface FakeEngine {
  engine: Engine;
  /** `POST /containers/create`, without queries. */
  asked: string[];
  /** Ends all connections and stops listening, like an engine that is restarted. */
  goAway(): Promise<void>;
  comeBack(): Promise<void>;
  close(): Promise<void>;
}

/** For what can't be asked of a real engine without taking it away from everybody: it breaks off, is full, is old. */
export async function fakeEngine(
  answer: Answer,
  version: object = { Version: "28.0.0", ApiVersion: "1.48", Os: "linux", Arch: "amd64" },
): Promise<FakeEngine> {
  const directory = await mkdtemp(path.join(tmpdir(), "sluice-engine-"));
  const socket = path.join(directory, "docker.sock");
  const asked: string[] = [];
  const server = http.createServer(async (request, response) => {
    const [place = ""] = (request.url ?? "").split("?");
    asked.push(`${request.method} ${place}`);
    if (place === "/version") return void response.end(JSON.stringify(version));
    if (place === "/_ping") return void response.end("OK");
    // Unless the test says else it has no container under another name.
    const body = (await answer(request, response)) ?? (place === "/containers/json" ? [] : undefined);
    if (response.destroyed || response.writableEnded || response.headersSent) return;
    response.statusCode = body === undefined ? 404 : 200;
    response.end(JSON.stringify(body ?? { message: "no such thing" }));
  });
  const open = async () => {
    server.listen(socket);
    await once(server, "listening");
  };
  const shut = async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  };
  await open();
  return {
    engine: createEngine(`unix://${socket}`),
    asked,
    goAway: shut,
    comeBack: open,
    async close() {
      if (server.listening) await shut();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

export function refuse(response: http.ServerResponse, status: number, message: string): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify({ message }));
}
