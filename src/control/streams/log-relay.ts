import { DurableObject } from "cloudflare:workers";
import type { LogChunkAnswer, logChunkSchema } from "../../protocol/agent/logs.ts";
import type { ControlEnv } from "../env.ts";
import type { LogOrder, LogRelayPort } from "./log-order.ts";
import { LogViewing } from "./log-viewing.ts";

/**
 * One per viewing of logs, named by its stream: asks the hosts for their lines and hands them to the one reader. It keeps
 * nothing: when it is gone, hosts are told that nobody reads, and the reader comes back with its place under another name.
 */
export class LogRelay extends DurableObject<ControlEnv> implements LogRelayPort {
  #viewing: LogViewing | undefined;

  /** The reader comes: a body is an order, the answer its lines as server-sent events. */
  override async fetch(request: Request): Promise<Response> {
    if (this.#viewing) return new Response(null, { status: 409 });
    // Written by routes/logs, and by nobody else.
    const order = (await request.json()) as LogOrder;
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    this.#viewing = new LogViewing({ env: this.env, order, now: Date.now, out: writable.getWriter() });
    void this.#viewing.run();
    return new Response(readable);
  }

  async push(
    hostId: string,
    chunk: ReturnType<typeof logChunkSchema.parse>,
  ): Promise<LogChunkAnswer | "foreign"> {
    return this.#viewing ? this.#viewing.push(hostId, chunk) : { wanted: false, taken: false };
  }
}
