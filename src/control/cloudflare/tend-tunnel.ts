import { retryAfter } from "../../domain/tunnel.ts";
import { logFailure } from "../context.ts";
import type { ControlEnv } from "../env.ts";
import { openDb } from "../store/db.ts";
import {
  readTunnelWork,
  type TunnelWork,
  tunnelDelayed,
  tunnelReady,
  tunnelRemoved,
} from "../store/tunnels.ts";
import { missingSettings } from "./api.ts";
import { openCloudflare } from "./cloudflare.ts";
import { makeHost } from "./make-host.ts";
import { Refused } from "./refused.ts";
import { removeHost } from "./remove-host.ts";

const ACTOR = "control";
/** What Cloudflare is not to blame for (D1, a bug) is tried again after this. */
const UNEXPECTED_MS = 30_000;

/**
 * Does what is to be done for one host's tunnel now, and writes down how it went. Answers when to come again; null: there is
 * nothing left to do. Only the host's own object calls it, one call after the other: writing the ingress replaces all of it.
 */
export async function tendTunnel(env: ControlEnv, hostId: string, now: number): Promise<number | null> {
  const db = openDb(env.DB);
  const work = await readTunnelWork(db, hostId);
  if (!work || work.tunnel.state === "ready" || work.tunnel.state === "removed") return null;
  const { host, tunnel } = work;
  const event = (message: string, data: object) => ({
    at: now,
    type: "host.tunnel",
    actor: ACTOR,
    message,
    data: { host: host.name, id: host.id, ...data },
  });
  try {
    const cf = openCloudflare(env);
    if (!cf) throw new Refused("refused", notSetUp(env), { retryAfterMs: 300_000 });
    const run = { cf, db, host, now };
    if (tunnel.state === "removing") {
      await removeHost(run);
      await tunnelRemoved(
        db,
        hostId,
        now,
        event(`the tunnel of ${host.name} is removed`, { state: "removed" }),
      );
    } else {
      const made = await makeHost(run);
      const message = `the tunnel of ${host.name} is ready, with ${host.slots.length} slots`;
      await tunnelReady(db, hostId, { ...made, now, event: event(message, { state: "ready", ...made }) });
    }
  } catch (error) {
    const delay = delayOf(error, work);
    if (!(error instanceof Refused)) logFailure("tunnel.failed", error, { host: host.name });
    const isNews = delay.attempts > tunnel.attempts && delay.cause !== tunnel.cause;
    const said = isNews ? event(`${host.name}: ${delay.cause}`, { state: tunnel.state }) : null;
    const nextAttemptAt = now + delay.waitMs;
    await tunnelDelayed(db, tunnel, { ...delay, nextAttemptAt, now, event: said });
    return nextAttemptAt;
  }
  // It may have been removed while it was made.
  const after = await readTunnelWork(db, hostId);
  return after?.tunnel.state === "removing" ? now : null;
}

function delayOf(
  error: unknown,
  { tunnel }: TunnelWork,
): { cause: string; attempts: number; waitMs: number } {
  const attempts = tunnel.attempts + 1;
  if (!(error instanceof Refused))
    return {
      cause: `control failed: ${error instanceof Error ? error.message : error}`,
      attempts,
      waitMs: UNEXPECTED_MS,
    };
  if (error.kind === "unfinished") return { cause: error.message, attempts: tunnel.attempts, waitMs: 0 };
  return { cause: error.message, attempts, waitMs: error.retryAfterMs ?? retryAfter(tunnel.attempts) };
}

const notSetUp = (env: ControlEnv): string =>
  `this control plane can't reach Cloudflare: it has no ${missingSettings(env).join(", no ")}`;
