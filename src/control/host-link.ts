import { DurableObject } from "cloudflare:workers";
import { WAKE } from "../protocol/agent.ts";
import type { ControlEnv } from "./env.ts";

/** Close codes of the wake-up socket, 4000–4999 being an application's own. */
const REPLACED = 4000;
const REMOVED = 4001;

/**
 * One per host, named by its id: holds the agent's socket and says "poll now" on it. It hibernates between messages, and
 * pings are answered without waking it: an idle host costs no duration. Who may open the socket is decided before.
 */
export class HostLink extends DurableObject<ControlEnv> {
  constructor(state: DurableObjectState, env: ControlEnv) {
    super(state, env);
    state.setWebSocketAutoResponse(new WebSocketRequestResponsePair("ping", "pong"));
  }

  override fetch(): Response {
    // An agent that lost its connection comes back before the old socket is known to be dead: the newest one counts.
    for (const old of this.ctx.getWebSockets())
      old.close(REPLACED, "another connection of this host took over");
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    return new Response(null, { status: 101, webSocket: client });
  }

  /** Asks the agent to poll. Answers whether anyone was listening; without a socket the agent's own poll finds the work. */
  async wake(): Promise<boolean> {
    const sockets = this.ctx.getWebSockets();
    for (const socket of sockets) socket.send(WAKE);
    return sockets.length > 0;
  }

  /** Ends the connection of a host that was removed or whose token was revoked. */
  async shut(reason: string): Promise<void> {
    for (const socket of this.ctx.getWebSockets()) socket.close(REMOVED, reason.slice(0, 100));
  }

  override webSocketMessage(): void {
    // Upwards only "ping" means anything, and the runtime answers that by itself.
  }

  override webSocketClose(socket: WebSocket, code: number): void {
    // 1005 and 1006 say "no code" and can't be sent back.
    socket.close(code === 1005 || code === 1006 ? 1000 : code);
  }
}
