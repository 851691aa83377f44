import { WebSocket } from "ws";
import { WAKE } from "../../src/protocol/agent/wire.ts";
import { type Clock, outagePause } from "../clock.ts";
import type { Log } from "../log.ts";
import { USER_AGENT } from "../version.ts";
import type { Identity } from "./identity.ts";
import { interceptionIn, stoppedText } from "./intercepted.ts";

export interface WakeOptions {
  url: string;
  identity: Identity;
  clock: Clock;
  log: Log;
  /** Called when control says "poll", and after each connect: something may have been said while there was no socket. */
  onWake(): void;
  /** Written to: without an open socket, polls have to come more often. */
  socket: { isOpen: boolean };
  signal: AbortSignal;
  pingMs?: number;
}

const CONNECT_WITHIN_MS = 15_000;

/** Holds the wake-up socket until aborted. It only makes polls earlier: without it the agent works, more slowly. */
export async function holdWakeSocket(options: WakeOptions): Promise<void> {
  const { clock, log, signal } = options;
  let attempt = 0;
  while (!signal.aborted) {
    const ended = await holdOne(options);
    if (signal.aborted) return;
    if (ended.renewed) continue;
    if (ended.opened) attempt = 0;
    // Once per outage is enough: the poll loop tells about control itself.
    if (attempt === 0) log.warn("wake-up socket lost, polling instead", { detail: ended.detail });
    await clock.sleep(outagePause(attempt++), signal);
  }
}

interface Ended {
  opened: boolean;
  /** It was let go because the host has another token now. */
  renewed: boolean;
  detail: string;
}

async function holdOne(options: WakeOptions): Promise<Ended> {
  const { url, identity, clock, onWake, pingMs = 30_000 } = options;
  const { token, superseded } = identity;
  const signal = AbortSignal.any([options.signal, superseded]);
  const address = new URL("/agent/v1/wake", url);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address, {
    headers: { authorization: `Bearer ${token}`, "user-agent": USER_AGENT },
    handshakeTimeout: CONNECT_WITHIN_MS,
    maxPayload: 1_024,
  });
  const over = new AbortController();
  const { promise, resolve } = Promise.withResolvers<string>();
  const leave = () => socket.terminate();
  signal.addEventListener("abort", leave, { once: true });
  let opened = false;
  let heard = true;
  socket.on("error", (error) => resolve(error.message));
  socket.on("unexpected-response", (_request, response) => {
    const { statusCode: status = 0, headers } = response;
    response.resume();
    // A challenge and Access show in the headers; what else there is, the polls meet, too.
    const stopped = interceptionIn({ status, headers, text: "" });
    resolve(stopped ? stoppedText(status, stopped) : `answered ${status} in place of a socket`);
  });
  socket.on("close", (code) => resolve(`closed with ${code}`));
  socket.on("message", (message) => {
    heard = true;
    if (message.toString() === WAKE) onWake();
  });
  socket.on("open", () => {
    opened = true;
    options.log.info("wake-up socket open");
    options.socket.isOpen = true;
    onWake();
    void keepAlive();
  });
  const keepAlive = async () => {
    while (!over.signal.aborted) {
      if (!heard) return socket.terminate();
      heard = false;
      socket.send("ping");
      await clock.sleep(pingMs, over.signal);
    }
  };
  const detail = await promise;
  options.socket.isOpen = false;
  over.abort();
  signal.removeEventListener("abort", leave);
  socket.terminate();
  return { opened, renewed: superseded.aborted, detail };
}
