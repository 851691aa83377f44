import { ok, strictEqual } from "node:assert/strict";
import { Agent } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { io } from "socket.io-client";
import type { Resident } from "./resident.ts";

const MESSAGES = 5;
const PAUSE_MS = 60;
const CONNECT_WITHIN_MS = 20_000;

/** All names below `localhost` are this machine, which not every resolver knows. */
const lookup = (_: string, { all }: { all?: boolean }, found: (...answer: unknown[]) => void) =>
  all ? found(null, [{ address: "127.0.0.1", family: 4 }]) : found(null, "127.0.0.1", 4);

/** Polling first and then a WebSocket, as by default; a message without an answer is sent again by the client itself. */
export const socketIo: Resident = {
  name: "socket-io",
  programs: {},
  options: { command: ["node", "main.ts"], affinity: { by: "cookie", to: "instance" } },
  async visit(visitor) {
    const agent = new Agent({ lookup: lookup as never });
    const socket = io(visitor.origin, {
      forceNew: true,
      withCredentials: true,
      // Typed for browsers, as a number of a connection pool.
      agent: agent as never,
      reconnectionDelay: 50,
      retries: 5,
      ackTimeout: 3_000,
    });
    try {
      await visitor.step("connects", async () => {
        for (const until = Date.now() + CONNECT_WITHIN_MS; !socket.connected; await sleep(5))
          ok(Date.now() < until, "no connection in time");
      });
      for (let n = 0; n < MESSAGES; n++) {
        await visitor.step(`message ${n}`, async () => {
          strictEqual(await socket.emitWithAck("say", `message ${n}`), `message ${n}`);
        });
        await sleep(PAUSE_MS);
      }
    } finally {
      socket.disconnect();
      agent.destroy();
    }
  },
};
