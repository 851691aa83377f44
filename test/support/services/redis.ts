import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createClient } from "redis";
import { freePort } from "../engine/docker.ts";
import { Daemon } from "./daemon.ts";
import { isInstalled } from "./installed.ts";

const PROGRAM = "/usr/bin/redis-server";

export const hasRedis = isInstalled("redis-server", PROGRAM);

export interface Redis {
  url: string;
  /** Sends one command, such as `["CLIENT", "PAUSE", "500"]`. */
  send(command: string[]): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Stops it and removes its data. */
  close(): Promise<void>;
}

/**
 * Starts a Redis of our own: a free loopback port, nothing written to disk. `gateway` is an address of this machine at which
 * containers reach it too.
 */
export async function startRedis(gateway?: string): Promise<Redis> {
  const directory = await mkdtemp(path.join(tmpdir(), "sluice-redis-"));
  const port = await freePort();
  const url = `redis://127.0.0.1:${port}`;
  const send = async (command: string[]) => {
    const client = createClient({ url, socket: { reconnectStrategy: false } });
    // Told by connect().
    client.on("error", () => {});
    await client.connect();
    await client.sendCommand(command);
    await client.close();
  };
  const daemon = new Daemon({
    command: PROGRAM,
    args: [
      ...["--port", String(port), "--bind", "127.0.0.1", ...(gateway ? [gateway] : [])],
      // Without a password it would refuse everybody but loopback.
      ...["--protected-mode", "no", "--dir", directory, "--save", "", "--appendonly", "no"],
    ],
    stopSignal: "SIGTERM",
    probe: () => send(["PING"]),
  });
  await daemon.start();
  return {
    url,
    send,
    start: () => daemon.start(),
    stop: () => daemon.stop(),
    async close() {
      await daemon.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
