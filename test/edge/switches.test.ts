/**
 * Every kind of request through every kind of switch, under load, failures counted. Zero is the promise wherever
 * nothing dies; where an instance dies, for all that may be sent again.
 */
import { once } from "node:events";
import { Agent, request as httpRequest, type RequestListener } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import type { RoutingTable } from "../../src/domain/routing/table.ts";
import { type Origin, startOrigin } from "../support/apps/origin.ts";
import { ask } from "../support/http-client.ts";
import { type EdgeStack, startEdgeStack } from "../support/stack/edge-stack.ts";
import { releaseOf, tableOf } from "../support/tables.ts";

const UPLOAD = Buffer.alloc(512 * 1024, "u");
const LOAD_MS = 1_500;
/** Between a client's requests: beside the streams some are on their way at any moment, and the machine is not what is tried. */
const PAUSE_MS = 10;
/** Of each kind, however slow the machine is. */
const ENOUGH = 4;
const SWITCH_AFTER_MS = 300;
/** While the load goes on, the edge's clock is moved past the staleness bound. */
const CLOCK = "x-test-clock";
const STEP_MS = 1_100;

let edge: EdgeStack;
let port: number;
let table: RoutingTable;
let control: "up" | "gone" = "up";
let apps: Record<"v1a" | "v1b" | "v2a" | "v2b", Origin>;

const app =
  (name: string): RequestListener =>
  async (request, response) => {
    if (request.url === "/events") {
      response.writeHead(200, { "Content-Type": "text/event-stream" });
      for (let i = 0; i < 20; i += 1) {
        response.write(`data: ${i}\n\n`);
        await sleep(25);
      }
      return response.end("data: end\n\n");
    }
    let bytes = 0;
    try {
      for await (const chunk of request) bytes += chunk.length;
    } catch {
      // This app was just killed by its test; whoever sent the request sees that.
      return;
    }
    response.end(JSON.stringify({ name, bytes }));
  };

/** One exchange of each kind; it fails by throwing. */
const KINDS: Record<string, () => Promise<void>> = {
  GET: async () => good(await ask({ port, path: "/page?x=1" })),
  HEAD: async () => good(await ask({ port, method: "HEAD" })),
  POST: async () => good(await ask({ port, method: "POST", body: "order=1" })),
  upload: async () => {
    const answer = await ask({ port, method: "PUT", body: [UPLOAD, UPLOAD] });
    good(answer);
    if (JSON.parse(answer.text).bytes !== UPLOAD.length * 2) throw new Error("the upload arrived cut");
  },
  SSE: async () => {
    const answer = await ask({ port, path: "/events" });
    good(answer);
    if (!answer.text.endsWith("data: end\n\n")) throw new Error("the stream ended early");
  },
  WebSocket: async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/chat`, { headers: { host: "shop.test" } });
    await once(socket, "open");
    const closed = once(socket, "close").then(([code]) => [`closed with ${code}`]);
    for (let i = 0; i < 10; i += 1) {
      socket.send(`message ${i}`);
      const [reply] = await Promise.race([once(socket, "message"), closed]);
      if (!String(reply).endsWith(`message ${i}`)) throw new Error(`got ${String(reply)}`);
      await sleep(30);
    }
    socket.close();
    await closed;
  },
  "new connection": async () => {
    const agent = new Agent({ keepAlive: false });
    const outgoing = httpRequest({ agent, port, headers: { host: "shop.test" } }).end();
    const [incoming] = await once(outgoing, "response");
    for await (const _ of incoming);
    if (incoming.statusCode !== 200) throw new Error(`status ${incoming.statusCode}`);
  },
};

let ahead = 0;
/** More time than a table is fresh for goes by, in two steps: the first asks control, behind a request. */
async function pass(): Promise<void> {
  for (let step = 0; step < 2; step += 1) {
    ahead += STEP_MS;
    await ask({ port, headers: { [CLOCK]: String(ahead) } });
    await sleep(200);
  }
}

function good({ status, text }: { status: number; text: string }): void {
  if (status !== 200) throw new Error(`status ${status}: ${text.slice(0, 200)}`);
}

function split(v2Bp: number, stable = "r1"): void {
  const releases = [
    releaseOf("r2", v2Bp, [apps.v2a.url, apps.v2b.url]),
    releaseOf("r1", 10_000 - v2Bp, [apps.v1a.url, apps.v1b.url]),
  ];
  table = tableOf([], { releases, stable, version: table ? table.version + 1 : 1 });
}

const SWITCHES: Record<string, { from: () => void; to: () => void | Promise<void>; serves?: string }> = {
  "deploy (blue-green)": { from: () => split(0), to: () => split(10_000), serves: "v2" },
  "weight change": { from: () => split(1_000), to: () => split(5_000) },
  rollback: { from: () => split(10_000), to: () => split(0), serves: "v1" },
  "canary to 0 and back": {
    from: () => split(3_000),
    to: async () => {
      split(0);
      await pass();
      split(3_000);
    },
  },
  "instance drained": {
    from: () => split(5_000),
    to: () => {
      const [v2, v1] = table.releases;
      if (!v2 || !v1) throw new Error("two releases");
      const instances = v2.instances.map((instance, i) => ({ ...instance, ready: i !== 0 }));
      table = { ...table, releases: [{ ...v2, instances }, v1], version: table.version + 1 };
    },
  },
  // To the edge an agent that dies is nothing at all: the containers run on and the table stays.
  "agent death": { from: () => split(5_000), to: () => {} },
  "control death": {
    from: () => split(5_000),
    to: () => {
      control = "gone";
    },
  },
  "instance death": { from: () => split(5_000), to: () => apps.v2a.stop() },
};
/** What may be lost with an instance: what it had taken in and can't be sent twice. */
const MAY_FAIL_WITH_INSTANCE = new Set(["POST", "upload", "SSE", "WebSocket"]);

beforeAll(async () => {
  const [v1a, v1b, v2a, v2b] = await Promise.all(
    ["v1a", "v1b", "v2a", "v2b"].map((name) => startOrigin(name, app(name))),
  );
  if (!v1a || !v1b || !v2a || !v2b) throw new Error("four apps");
  apps = { v1a, v1b, v2a, v2b };
  split(0);
  edge = await startEdgeStack(
    {
      table: (_, known) => {
        if (control === "gone") throw new Error("control is gone");
        return known === table.version ? { kind: "unchanged", version: known } : { kind: "table", table };
      },
      meter: () => {},
    },
    { clockHeader: CLOCK },
  );
  port = edge.ports[0] ?? 0;
});
afterAll(async () => {
  await edge.dispose();
  await Promise.all(Object.values(apps).map((origin) => origin.stop()));
});

describe("requests under load", () => {
  const rows: string[] = [];
  afterAll(() => console.info(`\nfailed / sent\n${rows.join("\n")}`));

  it.each(Object.entries(SWITCHES))("survive: %s", async (name, { from, to, serves = "v" }) => {
    control = "up";
    from();
    await settled();
    const until = Date.now() + LOAD_MS;
    const runs = Object.entries(KINDS).map(async ([kind, exchange]) => {
      const outcome = { kind, sent: 0, failures: [] as string[] };
      const client = async () => {
        while (Date.now() < until || outcome.sent < ENOUGH) {
          outcome.sent += 1;
          await exchange().catch((error: unknown) => outcome.failures.push(String(error)));
          await sleep(PAUSE_MS);
        }
      };
      await Promise.all([client(), client()]);
      return outcome;
    });
    await sleep(SWITCH_AFTER_MS);
    await to();
    await pass();
    const outcomes = await Promise.all(runs);
    rows.push(
      `${name.padEnd(22)} ${outcomes.map(({ kind, sent, failures }) => `${kind} ${failures.length}/${sent}`).join("  ")}`,
    );
    expect((await ask({ port })).text).toContain(`"name":"${serves}`);
    for (const { kind, failures, sent } of outcomes) {
      expect(sent).toBeGreaterThanOrEqual(ENOUGH);
      if (name !== "instance death" || !MAY_FAIL_WITH_INSTANCE.has(kind))
        expect({ kind, failures }).toEqual({ kind, failures: [] });
    }
  });

  /** Waits until the edge goes by the current table. */
  async function settled(): Promise<void> {
    const wanted = (table.releases[0]?.weightBp ?? 0) > 0 ? "v2" : "v1";
    for (let i = 0; i < 100; i += 1) {
      const answers = await Promise.all(Array.from({ length: 8 }, () => ask({ port })));
      if (answers.some(({ text }) => text.includes(wanted))) break;
      await sleep(50);
    }
    await sleep(50);
  }
});
