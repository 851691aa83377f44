import type { TunnelAnswer } from "../../protocol/agent/tunnel.ts";
import { BoundedMap } from "../bounded-map.ts";
import type { ControlEnv } from "../env.ts";
import { objectIn } from "../objects.ts";
import { openDb } from "../store/db.ts";
import { readTunnelRev, type TunnelRow, tunnelLost } from "../store/tunnels.ts";
import { openCloudflare } from "./cloudflare.ts";
import { Refused } from "./refused.ts";
import { tunnelToken } from "./tunnels.ts";

/** An agent whose tunnel is being made asks again after this, unless a later time is known. */
const ASK_AGAIN_MS = 3_000;
const TOKEN_KEPT_MS = 60_000;
const MOST_TOKENS = 1_000;

/** Of this isolate: an agent that restarts over and over costs Cloudflare's API one call a minute. */
const tokens = new BoundedMap<string, { token: string; until: number }>(MOST_TOKENS);

/** What a host is to run as its tunnel. The token is asked of Cloudflare and stored nowhere. */
export async function answerTunnel(env: ControlEnv, hostId: string, now: number): Promise<TunnelAnswer> {
  const found = await readTunnelRev(openDb(env.DB), hostId);
  if (!found) return { state: "none" };
  const { tunnel, rev } = found;
  const { tunnelId, configVersion } = tunnel;
  if (tunnel.state !== "ready" || tunnelId === null || configVersion === null || rev === null)
    return pending(tunnel, now);
  try {
    const token = await tokenOf(env, { tunnelId, rev, now });
    return { state: "ready", rev, tunnelId, token, configVersion };
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    const retryAfterMs = error.retryAfterMs ?? ASK_AGAIN_MS;
    if (error.kind === "gone") await remake(env, hostId, now);
    return { state: "pending", cause: error.message, retryAfterMs };
  }
}

function pending({ state, cause, nextAttemptAt }: TunnelRow, now: number): TunnelAnswer {
  const words =
    state === "pending" ? "the tunnel is being made" : "the tunnel is being removed with its host";
  const wait = nextAttemptAt === null ? 0 : nextAttemptAt - now;
  return { state: "pending", cause: cause ?? words, retryAfterMs: Math.max(ASK_AGAIN_MS, wait) };
}

async function tokenOf(env: ControlEnv, of: { tunnelId: string; rev: number; now: number }): Promise<string> {
  const key = `${of.tunnelId}/${of.rev}`;
  const kept = tokens.get(key);
  if (kept && kept.until > of.now) return kept.token;
  const cf = openCloudflare(env);
  if (!cf)
    throw new Refused("refused", "this control plane can't reach Cloudflare any more: its API token is gone");
  const token = await tunnelToken(cf, of.tunnelId);
  tokens.set(key, { token, until: of.now + TOKEN_KEPT_MS });
  return token;
}

/** A person deleted it at Cloudflare. */
async function remake(env: ControlEnv, hostId: string, now: number): Promise<void> {
  await tunnelLost(openDb(env.DB), hostId, "the tunnel was deleted at Cloudflare: it is made again", now);
  await objectIn(env.HOST_LINK, hostId, env).tend(hostId);
}
