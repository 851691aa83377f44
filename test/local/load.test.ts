import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { Load } from "../../local/load.ts";
import { TIMED } from "../support/patience.ts";

/** What the demo, the end-to-end tests and the benchmarks count with: a failure that it can't see proves nothing. */
const RATE = 200;
let undo: () => Promise<void> = async () => {};
afterEach(() => undo());

async function visit(app: RequestListener): Promise<Load> {
  const server = createServer(app).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const load = new Load({ edgeUrl: `http://127.0.0.1:${port}`, hostname: "app.test", rate: RATE });
  load.phase("all");
  load.start();
  undo = async () => {
    await load.stop();
    server.close();
  };
  return load;
}

/** One in four requests goes wrong. */
const sometimes = (wrong: RequestListener): RequestListener => {
  let count = 0;
  return (asked, answer) => (count++ % 4 === 3 ? wrong(asked, answer) : answer.end("{}"));
};

const WRONGS: Record<string, RequestListener> = {
  "a connection closed without an answer": (asked) => asked.socket.end(),
  "a connection that is reset": (asked) => asked.socket.resetAndDestroy(),
  "an answer that is cut short": (_, answer) => {
    answer.writeHead(200, { "content-length": 100 });
    answer.write("{");
    setImmediate(() => answer.socket?.end());
  },
  "a status that says so": (_, answer) => answer.writeHead(502).end(),
};

test.each(Object.entries(WRONGS))("counts %s as a failure", async (_, wrong) => {
  let wrongs = 0;
  const load = await visit(
    sometimes((asked, answer) => {
      wrongs += 1;
      return wrong(asked, answer);
    }),
  );
  await expect.poll(() => load.counts("all").failed).toBeGreaterThan(3);
  await load.stop();
  expect(load.counts("all").failed).toBe(wrongs);
});

test("sends at a steady pace, so that no switch falls into a silence", TIMED, async () => {
  const arrivals: number[] = [];
  const load = await visit((_, answer) => {
    arrivals.push(performance.now());
    answer.end("{}");
  });
  await expect.poll(() => arrivals.length, { timeout: 5_000 }).toBeGreaterThan(RATE * 1.2);
  await load.stop();
  // All of a second's requests at its beginning fill two or three windows of 100 ms; a busy machine may leave a few empty.
  const windows = new Set(arrivals.map((at) => Math.floor(at / 100)));
  expect(windows.size).toBeGreaterThan(6);
});
