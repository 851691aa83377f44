import { retryAfter } from "../../domain/tunnel.ts";
import type { ControlEnv } from "../env.ts";
import { logFailure } from "../log.ts";
import { type Db, openDb } from "../store/db.ts";
import {
  readTunnelWork,
  rulesWritten,
  type TunnelHost,
  type TunnelRow,
  type TunnelWork,
  tunnelDelayed,
  tunnelReady,
  tunnelRemoved,
} from "../store/tunnels.ts";
import { missingSettings } from "./api.ts";
import { openCloudflare } from "./cloudflare.ts";
import { ensureIngress, type HostRun, makeHost } from "./make-host.ts";
import { Refused } from "./refused.ts";
import { removeHost } from "./remove-host.ts";

/** What Cloudflare is not to blame for (D1, a bug) is tried again after this. */
const UNEXPECTED_MS = 30_000;
const NOT_SET_UP_MS = 300_000;

/**
 * Does what is to be done for one host's tunnel now, and writes down how it went. Answers when to come again; null: there is
 * nothing left to do. Only the host's own object calls it, one call after the other: writing the ingress replaces all of it.
 */
export async function tendTunnel(env: ControlEnv, hostId: string, now: number): Promise<number | null> {
  const db = openDb(env.DB);
  const work = await readTunnelWork(db, hostId);
  if (!work || work.tunnel.state === "removed") return null;
  const { state, nextAttemptAt } = work.tunnel;
  if (state === "ready" && !work.owesRules) return null;
  // It is asked for whenever somebody waits for it: that makes Cloudflare no better.
  if (state === "ready" && nextAttemptAt !== null && nextAttemptAt > now) return nextAttemptAt;
  try {
    const cf = openCloudflare(env);
    if (!cf) throw new Refused("refused", notSetUp(env), { retryAfterMs: NOT_SET_UP_MS });
    await WORK[state]({ cf, db, host: work.host, now }, work.tunnel);
  } catch (error) {
    return postpone(db, work, error, now);
  }
  // It may have been removed, or a slot renamed, meanwhile.
  const after = await readTunnelWork(db, hostId);
  return after?.tunnel.state === "removing" || (after?.tunnel.state === "ready" && after.owesRules)
    ? now
    : null;
}

type Work = (run: HostRun, tunnel: TunnelRow) => Promise<void>;

/** A slot has another app, or its app another name: only its rule changes, and traffic of all others goes on. */
async function rename(run: HostRun, { tunnelId }: TunnelRow): Promise<void> {
  const { db, host, now } = run;
  if (tunnelId === null) throw new Error(`the tunnel of ${host.name} is ready and has no id`);
  const configVersion = await ensureIngress(run, tunnelId);
  await rulesWritten(db, host.id, { configVersion, slots: host.slots, now });
}

async function make(run: HostRun): Promise<void> {
  const { db, host, now } = run;
  const made = await makeHost(run);
  const message = `the tunnel of ${host.name} is ready, with ${host.slots.length} slots`;
  await tunnelReady(db, host.id, {
    ...made,
    slots: host.slots,
    now,
    event: event(host, now, message, { state: "ready", ...made }),
  });
}

async function remove(run: HostRun): Promise<void> {
  const { db, host, now } = run;
  await removeHost(run);
  const message = `the tunnel of ${host.name} is removed`;
  await tunnelRemoved(db, host.id, now, event(host, now, message, { state: "removed" }));
}

async function postpone(db: Db, work: TunnelWork, error: unknown, now: number): Promise<number> {
  const { host, tunnel } = work;
  if (!(error instanceof Refused)) logFailure("tunnel.failed", error, { host: host.name });
  const { cause, attempts, waitMs } = delayOf(error, work);
  const isNews = attempts > tunnel.attempts && cause !== tunnel.cause;
  const said = isNews ? event(host, now, `${host.name}: ${cause}`, { state: tunnel.state }) : null;
  const nextAttemptAt = now + waitMs;
  await tunnelDelayed(db, tunnel, { cause, attempts, nextAttemptAt, now, event: said });
  return nextAttemptAt;
}

const WORK: Record<"pending" | "ready" | "removing", Work> = {
  pending: make,
  ready: rename,
  removing: remove,
};

const event = (host: TunnelHost, now: number, message: string, data: object) => ({
  at: now,
  type: "host.tunnel",
  actor: "control",
  message,
  data: { host: host.name, id: host.id, ...data },
});

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
