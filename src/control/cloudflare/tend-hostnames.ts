import type { ControlEnv } from "../env.ts";
import { logWarning } from "../log.ts";
import { openDb } from "../store/db.ts";
import {
  claimHostname,
  type DueHostname,
  findDueHostnames,
  lookAgain,
  type Routed,
  writeRouted,
} from "../store/hostnames.ts";
import { findOrphans, forget, type LedgerRow } from "../store/ledger.ts";
import { openCloudflare } from "./cloudflare.ts";
import { deleteRecord, listRecords } from "./dns.ts";
import { Refused, unlessGone } from "./refused.ts";
import { type HostnameRun, ownRecord, routeHostname } from "./route-hostname.ts";
import { deleteRoute, listRoutes } from "./routes.ts";

/**
 * A Worker on the Free plan may make 50 calls and 50 queries at a time. A hostname takes up to nine of each, one that goes two;
 * the rest is for whoever runs this: an `apply`, or the sweep, which has the more to do beside it. The next run is in a minute.
 */
const MOST_AT_ONCE = 3;
export const MOST_IN_SWEEP = 2;
/** Longer than all calls for one hostname may take: nobody else works on it, and none of its making is still under way. */
const TURN_MS = 150_000;
const RETRY_MS = 60_000;

/**
 * Leads hostnames to the edge that don't yet, and takes away what was made for those that no manifest has any more. Run after
 * each `apply` and each minute; who runs it at the same time takes other hostnames.
 */
export async function tendHostnames(env: ControlEnv, now: number, most = MOST_AT_ONCE): Promise<void> {
  const cf = openCloudflare(env);
  if (!cf) return;
  const run = { cf, db: openDb(env.DB), now };
  await removeOrphans(run, most);
  for (const row of await findDueHostnames(run.db, now, most)) {
    if (!(await claimHostname(run.db, row.hostname, now, now + TURN_MS))) continue;
    // Nothing at Cloudflare would go better a moment later: the rest waits for the next run.
    if (!(await tend(run, row))) return;
  }
}

/** One hostname's failure is its own, except that a limit or an outage is everybody's: then false. */
async function tend(run: HostnameRun, row: DueHostname): Promise<boolean> {
  const { db, now } = run;
  let routed: Routed;
  let goOn = true;
  try {
    routed = await routeHostname(run, row);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    goOn = error.kind !== "limited" && error.kind !== "unreachable";
    const nextAt = now + (error.retryAfterMs ?? RETRY_MS);
    routed = { zoneId: null, routeId: null, recordId: null, state: "pending", cause: error.message, nextAt };
  }
  const { hostname, app, environment, environmentId } = row;
  const isNews = routed.state !== row.state || routed.cause !== row.cause;
  const event = {
    at: now,
    type: "hostname.routed",
    actor: "control",
    app,
    environment,
    environmentId,
    message: routed.cause ?? `${hostname} leads to the edge`,
    data: { hostname, state: routed.state },
  };
  await writeRouted(db, hostname, routed, isNews ? event : null);
  return goOn;
}

async function removeOrphans(run: HostnameRun, most: number): Promise<void> {
  const { db, now } = run;
  const rows = await findOrphans(db, now - TURN_MS, most * 2);
  // Records first: nobody is led to a name that nothing answers.
  for (const row of rows.toSorted((a, b) => a.kind.localeCompare(b.kind))) {
    try {
      await removeOrphan(run, row);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      // Nobody waits for it, and the next run tries again.
      logWarning("hostname.not_removed", { name: row.name, cause: error.message });
      return;
    }
    await forget(db, [row]);
    if (row.hostname !== null) await lookAgain(db, row.hostname);
  }
}

async function removeOrphan({ cf }: HostnameRun, row: LedgerRow): Promise<void> {
  const { zoneId: zone, hostname } = row;
  if (zone === null || hostname === null) return;
  if (row.kind === "dns_record") {
    const id = row.remoteId ?? ownRecord(await listRecords(cf, zone, { name: hostname }), [row])?.id;
    if (id) await unlessGone(deleteRecord(cf, zone, id));
  } else if (row.kind === "route") {
    const id = row.remoteId ?? (await listRoutes(cf, zone)).find(({ pattern }) => pattern === row.name)?.id;
    if (id) await unlessGone(deleteRoute(cf, zone, id));
  }
}
