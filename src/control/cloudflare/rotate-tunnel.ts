import { err, ok, type Result } from "../../domain/result.ts";
import { toBase64 } from "../bytes.ts";
import type { ControlEnv } from "../env.ts";
import type { Refusal } from "../refusal.ts";
import { openDb, runBatch } from "../store/db.ts";
import { insertEvent } from "../store/events.ts";
import { readTunnelWork, riseRev } from "../store/tunnels.ts";
import { openCloudflare } from "./cloudflare.ts";
import { Refused } from "./refused.ts";
import { changeSecret } from "./tunnels.ts";

const SECRET_BYTES = 32;

/**
 * Gives a tunnel a new secret. What is connected stays so; with the token from before nobody connects any more. Its number
 * rises even when Cloudflare's answer is lost: then the secret may have changed, and asking once more costs the agent nothing.
 */
export async function rotateTunnel(
  env: ControlEnv,
  { hostId, actor, now }: { hostId: string; actor: string; now: number },
): Promise<Result<{ rev: number }, Refusal>> {
  const db = openDb(env.DB);
  const work = await readTunnelWork(db, hostId);
  const cf = openCloudflare(env);
  if (!work || !cf || work.tunnel.state !== "ready" || work.tunnel.tunnelId === null)
    return err(noTunnel(work?.tunnel));
  const { name } = work.host;
  const secret = toBase64(crypto.getRandomValues(new Uint8Array(SECRET_BYTES)));
  const refused = await changeSecret(cf, work.tunnel.tunnelId, secret).then(() => null, toRefused);
  const message = refused
    ? `the tunnel token of ${name} could not be changed: ${refused.message}`
    : `the tunnel token of ${name} was changed`;
  const [risen] = await runBatch(db, [
    riseRev(db, hostId),
    insertEvent(db, { at: now, type: "host.tunnel", actor, message, data: { host: name, id: hostId } }),
  ]);
  if (refused) return err(refusal(name, refused));
  return ok({ rev: (risen as { tunnelRev: number }[])[0]?.tunnelRev ?? 0 });
}

function toRefused(error: unknown): Refused {
  if (error instanceof Refused) return error;
  throw error;
}

const noTunnel = (tunnel: { state: string; cause: string | null } | undefined): Refusal => ({
  code: tunnel ? "conflict" : "not_configured",
  detail: tunnel
    ? `the tunnel of this host is ${tunnel.state}${tunnel.cause ? ` (${tunnel.cause})` : ""}: its token can be changed when it is ready`
    : "this host has no tunnel: it was enrolled with an address of its own",
});

const refusal = (host: string, { kind, message, retryAfterMs }: Refused): Refusal => ({
  code: "cloudflare_refused",
  detail: message,
  next: [{ command: `sluice hosts rotate-tunnel ${host}`, when: "to try again" }],
  ...(kind === "limited" && retryAfterMs !== null ? { retryAfterS: Math.ceil(retryAfterMs / 1_000) } : {}),
});
