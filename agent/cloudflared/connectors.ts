import { createHash } from "node:crypto";
import net from "node:net";
import type { Outcome } from "../outcome.ts";

/**
 * cloudflared carries the traffic, so it lives longer than the agent that started it: as a process of its own session, or as
 * a container. Each form is found again by the next agent, and by it alone.
 */
export interface Connector {
  id: string;
  /** Its metrics and readiness listen there, on loopback. */
  port: number;
  /** Of the token it runs with, so that a new token is noticed without keeping the old one. */
  tokenHash: string;
  /** Epoch ms. */
  startedAt: number;
  running: boolean;
  /** It was told to end. */
  retiring: boolean;
}

export interface Connectors {
  readonly kind: "process" | "container";
  list(): Promise<Outcome<Connector[]>>;
  /** Starts one more, beside whatever runs. */
  start(token: string): Promise<Outcome<void>>;
  /** Tells one to end; it has its grace to finish what is under way. Told again, nothing changes. */
  retire(connector: Connector): Promise<void>;
  /** Removes what is left of one that ended. */
  discard(connector: Connector): Promise<void>;
  /** The last it said, oldest first. */
  lines(connector: Connector): Promise<string[]>;
}

/** Longer than an app may take to drain, so that requests end by themselves; cloudflared always waits all of it. */
const GRACE_S = 150;

/** After the grace it is ended by force. */
export const RETIRE_WITHIN_MS = (GRACE_S + 15) * 1_000;

export const hashOf = (token: string) => createHash("sha256").update(token).digest("hex").slice(0, 16);

/** What cloudflared is told by argument: nothing secret, since anyone on the host reads arguments. */
export const cloudflaredArgs = (port: number) => [
  "tunnel",
  "--no-autoupdate",
  "--metrics",
  `127.0.0.1:${port}`,
  "--grace-period",
  `${GRACE_S}s`,
  "run",
];

/** Variables of the agent that are meant for cloudflared: how it reaches Cloudflare from this network. */
export const PASSED_ON = [
  "TUNNEL_TRANSPORT_PROTOCOL",
  "TUNNEL_EDGE_IP_VERSION",
  "TUNNEL_EDGE_BIND_ADDRESS",
  "TUNNEL_REGION",
  "TUNNEL_LOGLEVEL",
];

/** A loopback port nobody has at this moment. Were it taken before cloudflared has it, cloudflared ends and is started anew. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(address !== null && typeof address === "object" ? address.port : 0));
    });
  });
}
