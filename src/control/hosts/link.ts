import { DurableObject } from "cloudflare:workers";
import type { Place } from "../../domain/doctor/places.ts";
import type { Result } from "../../domain/result.ts";
import { WAKE } from "../../protocol/agent/wire.ts";
import { rotateTunnel } from "../cloudflare/rotate-tunnel.ts";
import { HOSTNAMES, tendHostnames } from "../cloudflare/tend-hostnames.ts";
import { tendTunnel } from "../cloudflare/tend-tunnel.ts";
import { placeHere } from "../doctor/places.ts";
import { look, type Seen } from "../doctor/shield-look.ts";
import type { ControlEnv } from "../env.ts";
import { logFailure } from "../log.ts";
import type { Refusal } from "../refusal.ts";
import { armBy, Turn } from "../turn.ts";
import type { HostLinkPort } from "./link-port.ts";

/** Close codes of the wake-up socket, 4000–4999 being an application's own. */
const REPLACED = 4000;
const REMOVED = 4001;
/** After a run that could not even write down how it went. */
const RESCUE_MS = 10_000;
const ALARM_WITHIN_MS = 20_000;
const ALARM_LOOK_MS = 100;

/**
 * One per host, named by its id: holds the agent's socket and says "poll now" on it. It hibernates between messages, and
 * pings are answered without waking it: an idle host costs no duration. Who may open the socket is decided before.
 *
 * It is also where the host's tunnel is changed, one change after the other, by its alarm until all of it is done. So are
 * public hostnames, by the one object that is no host's: each ring of its alarm may do what an invocation may.
 */
export class HostLink extends DurableObject<ControlEnv> implements HostLinkPort {
  /** A run reads, calls out, and writes what it found. */
  readonly #turn = new Turn();

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

  async wake(): Promise<boolean> {
    // One that was closed is listed until its other end has answered, which an agent that lost its network never does.
    const open = this.ctx.getWebSockets().filter(({ readyState }) => readyState === WebSocket.OPEN);
    for (const socket of open) socket.send(WAKE);
    return open.length > 0;
  }

  async shut(reason: string): Promise<void> {
    for (const socket of this.ctx.getWebSockets()) socket.close(REMOVED, reason.slice(0, 100));
  }

  async tend(hostId: string): Promise<void> {
    // In an alarm the object does not know the name it was reached by.
    await this.ctx.storage.put("host", hostId);
    await armBy(this.ctx.storage, Date.now());
  }

  override async alarm(): Promise<void> {
    const { storage } = this.ctx;
    const question = await storage.get<string>("question");
    if (question !== undefined) await storage.put("seen", await look(question));
    const hostId = await storage.get<string>("host");
    if (hostId === undefined) return;
    try {
      const next = await this.#turn.take(() => this.#tend(hostId, Date.now()));
      if (next !== null) await armBy(storage, next);
      // Whatever was changed, its agent hears of it by a number that rose.
      else await this.wake();
    } catch (error) {
      logFailure("tunnel.alarm_failed", error, { host: hostId });
      await armBy(storage, Date.now() + RESCUE_MS);
    }
  }

  #tend(hostId: string, now: number): Promise<number | null> {
    return hostId === HOSTNAMES ? tendHostnames(this.env, now) : tendTunnel(this.env, hostId, now);
  }

  async rotateTunnel(hostId: string, actor: string): Promise<Result<{ rev: number }, Refusal>> {
    const rotated = await this.#turn.take(() => rotateTunnel(this.env, { hostId, actor, now: Date.now() }));
    if (rotated.ok) await this.wake();
    return rotated;
  }

  place(): Promise<Place> {
    return placeHere(this.env);
  }

  look(url: string): Promise<Seen> {
    return look(url);
  }

  async lookInAlarm(url: string): Promise<Seen> {
    const { storage } = this.ctx;
    await storage.put("question", url);
    await armBy(storage, Date.now());
    for (let waitedMs = 0; waitedMs < ALARM_WITHIN_MS; waitedMs += ALARM_LOOK_MS) {
      const seen = await storage.get<Seen>("seen");
      if (seen) {
        await storage.deleteAll();
        return seen;
      }
      await scheduler.wait(ALARM_LOOK_MS);
    }
    await storage.deleteAll();
    return { status: null, error: "its alarm did not ring", code: null, isShielded: false, stoppedBy: null };
  }

  override webSocketMessage(): void {
    // Upwards only "ping" means anything, and the runtime answers that by itself.
  }

  override webSocketClose(socket: WebSocket, code: number): void {
    // 1005 and 1006 say "no code" and can't be sent back.
    socket.close(code === 1005 || code === 1006 ? 1000 : code);
  }
}
