/**
 * The real edge, bundled as it is deployed, in workerd, with a control whose answers a test scripts from Node. Requests
 * come in on raw sockets, without Miniflare's own Worker in front.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { Miniflare, type Request, type Response } from "miniflare";
import { bundleWorker } from "../../../local/bundle.ts";
import { slotDoors } from "../../../local/doors.ts";
import type { MeterBatch } from "../../../src/domain/routing/meter.ts";
import type { TableAnswer } from "../../../src/domain/routing/table.ts";
import { COMPATIBILITY_DATE } from "../compatibility-date.ts";
import { ask as askOver } from "../http-client.ts";

/** What the scripted control does; a test changes it at any time. A rejection reaches the edge as a failing control. */
export interface ControlScript {
  table(hostname: string, known: number | null): TableAnswer | Promise<TableAnswer>;
  meter(batch: MeterBatch): void | Promise<void>;
  /** What reached Analytics Engine, whose local stand-in keeps nothing. */
  analytics?(point: { indexes: string[]; blobs: string[]; doubles: number[] }): void;
}

export interface EdgeStack {
  /** One per edge, each an isolate of its own with its own memory. */
  readonly ports: readonly number[];
  readonly control: ControlScript;
  /** What the Workers have logged so far, line by line. */
  readonly logs: readonly string[];
  putKv(key: string, value: unknown): Promise<void>;
  deleteKv(key: string): Promise<void>;
  /** Moves all that lies in the bucket under `from` to `to`. */
  moveInBucket(from: string, to: string): Promise<number>;
  /** Sets the edges' clocks forward by so many ms from the time there is; needs a `clockHeader`. */
  setAhead(ms: number): Promise<void>;
  dispose(): Promise<void>;
}

const STAND_IN = `
import { WorkerEntrypoint } from "cloudflare:workers";
const ask = async (env, name, args) => {
  const response = await env.SCRIPT.fetch("http://script/" + name, { method: "POST", body: JSON.stringify(args) });
  if (!response.ok) throw new Error(await response.text());
  return response.json();
};
export class EdgePort extends WorkerEntrypoint {
  table(hostname, known) { return ask(this.env, "table", [hostname, known]); }
  async meter(batch) { await ask(this.env, "meter", [batch]); }
}
export class Dataset extends WorkerEntrypoint {
  async writeDataPoint(point) { await ask(this.env, "analytics", [point]); }
}
export default { fetch: () => new Response("control") };
`;

/** A module around the edge that moves its clock when a request says so. */
const clockFor = (header: string): string => `
import edge from "./worker.mjs";
const now = Date.now.bind(Date);
let ahead = 0;
Date.now = () => now() + ahead;
export default { fetch(request, env, ctx) {
  ahead = Number(request.headers.get("${header}") ?? ahead);
  return edge.fetch(request, env, ctx);
} };
`;

interface EdgeStackOptions {
  readonly edges?: number;
  /** The edges' clocks can be moved: a request with this header sets one forward by so many ms. */
  readonly clockHeader?: string;
  readonly vars?: Readonly<Record<string, string>>;
  /** Slots' origins that are reached as the local stack does: so that the app gets its public name. */
  readonly doors?: readonly string[];
  /** Edges keep copies in R2, too. */
  readonly bucket?: boolean;
  /** Everything that an edge fetches ends here instead of on the network. */
  readonly outbound?: (request: Request) => Response | Promise<Response>;
}

export async function startEdgeStack(
  script: ControlScript,
  options: EdgeStackOptions = {},
): Promise<EdgeStack> {
  const control = { ...script };
  const source = await bundleWorker("edge");
  const { clockHeader } = options;
  const names = Array.from({ length: options.edges ?? 1 }, (_, index) => `edge-${index}`);
  const logs: string[] = [];
  const mf = new Miniflare({
    port: 0,
    handleStructuredLogs: ({ message }) => logs.push(message),
    cf: false,
    workers: [
      ...names.map((name) =>
        edgeWorker(name, source, { ...options, counts: script.analytics !== undefined }),
      ),
      controlWorker(control),
    ],
  });
  await mf.ready;
  const urls = await Promise.all(names.map((name) => mf.unsafeGetDirectURL(name)));
  const kv = await mf.getKVNamespace("TABLES", "edge-0");
  return {
    ports: urls.map((url) => Number(url.port)),
    control,
    logs,
    putKv: (key, value) => kv.put(key, JSON.stringify(value)),
    deleteKv: (key) => kv.delete(key),
    moveInBucket: (from, to) => moveInBucket(mf, from, to),
    async setAhead(ms) {
      if (clockHeader === undefined) throw new Error("no clockHeader: the edges' clocks can't be moved");
      // Nobody's hostname: it reaches no app.
      const headers = { host: "clock.test", [clockHeader]: String(ms) };
      await Promise.all(urls.map((url) => askOver({ port: Number(url.port), headers })));
    },
    dispose: () => mf.dispose(),
  };
}

/** One edge as Miniflare is told of it; `counts`: into Analytics Engine, too. */
function edgeWorker(name: string, source: string, options: EdgeStackOptions & { readonly counts: boolean }) {
  const { clockHeader, outbound } = options;
  const vars = Object.entries(options.vars ?? {}).map(
    ([name, value]) => [name, { type: "text", value }] as const,
  );
  return {
    config: {
      name,
      compatibilityDate: COMPATIBILITY_DATE,
      manifest: {
        mainModule: clockHeader === undefined ? "worker.mjs" : "clock.mjs",
        modules: {
          "worker.mjs": { type: "esm" as const, contents: source },
          ...(clockHeader !== undefined && {
            "clock.mjs": { type: "esm" as const, contents: clockFor(clockHeader) },
          }),
        },
      },
      env: {
        CONTROL: { type: "worker" as const, worker: "control", exportName: "EdgePort" },
        TABLES: { type: "kv" as const, id: "tables" },
        ...(options.bucket && { ASSETS: { type: "r2" as const, name: "assets" } }),
        ...(options.counts && {
          ANALYTICS: { type: "worker" as const, worker: "control", exportName: "Dataset" },
        }),
        ...Object.fromEntries(vars),
        ...slotDoors(options.doors),
      },
    },
    dev: {
      stripCfConnectingIp: false,
      unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
      ...(outbound && { outboundService: { type: "fetcher" as const, handler: outbound } }),
    },
  };
}

/** The scripted control. */
function controlWorker(control: ControlScript) {
  const handler = (request: IncomingMessage, response: ServerResponse) => answer(control, request, response);
  return {
    config: {
      name: "control",
      compatibilityDate: COMPATIBILITY_DATE,
      manifest: {
        mainModule: "worker.mjs",
        modules: { "worker.mjs": { type: "esm" as const, contents: STAND_IN } },
      },
      env: { SCRIPT: { type: "node-handler" as const, handler } },
    },
  };
}

async function answer(
  control: ControlScript,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  const args: unknown[] = JSON.parse(Buffer.concat(chunks).toString());
  try {
    const calls: Record<string, unknown> = {
      "/table": control.table,
      "/meter": control.meter,
      "/analytics": control.analytics,
    };
    const call = calls[request.url ?? ""];
    if (typeof call !== "function") throw new Error(`no script for ${request.url}`);
    const result = await Reflect.apply(call, control, args);
    response.end(JSON.stringify(result ?? null));
  } catch (error) {
    response.statusCode = 500;
    response.end(String(error));
  }
}

async function moveInBucket(mf: Miniflare, from: string, to: string): Promise<number> {
  const bucket = await mf.getR2Bucket("ASSETS", "edge-0");
  const { objects } = await bucket.list({ prefix: from });
  for (const { key } of objects) {
    const found = await bucket.get(key);
    if (!found) continue;
    const { customMetadata = {} } = found;
    await bucket.put(to + key.slice(from.length), await found.arrayBuffer(), { customMetadata });
    await bucket.delete(key);
  }
  return objects.length;
}
