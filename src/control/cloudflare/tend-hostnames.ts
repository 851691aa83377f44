import type { ControlEnv } from "../env.ts";
import { logWarning } from "../log.ts";
import { objectIn } from "../objects.ts";
import { findOrphans, forget, type LedgerRow } from "../store/cloudflare-resources.ts";
import { openDb } from "../store/db.ts";
import {
  claimHostname,
  type DueHostname,
  findDueHostnames,
  lookAgain,
  type Routed,
  writeRouted,
} from "../store/hostnames.ts";
import { settingsOf } from "./api.ts";
import { openCloudflare } from "./cloudflare.ts";
import { deleteRecord, listRecords } from "./dns.ts";
import { Refused, unlessGone } from "./refused.ts";
import { type HostnameRun, ownRecord, routeHostname } from "./route-hostname.ts";
import { deleteRoute, listRoutes } from "./routes.ts";

/** Of the host links' objects the one that is no host's. */
export const HOSTNAMES = "hostnames";

/** A Worker on the Free plan may make 50 calls and 50 queries at a time. A hostname takes up to ten of each, one that goes two. */
const MOST_AT_ONCE = 4;
const MOST_GOING = 4;
/** Longer than all calls for one hostname may take: nobody else works on it, and none of its making is still under way. */
const TURN_MS = 150_000;
const RETRY_MS = 60_000;

/** Has hostnames looked at, by the alarm of their own object: as many runs as it takes. Said again meanwhile it changes nothing. */
export const tendHostnamesSoon = async (env: ControlEnv): Promise<void> => {
  if (settingsOf(env)) await objectIn(env.HOST_LINK, HOSTNAMES, env).tend(HOSTNAMES);
};

/** The same, if there is anything to do by now. */
export async function tendDueHostnames(env: ControlEnv, now: number): Promise<void> {
  const db = openDb(env.DB);
  const found = await Promise.all([findDueHostnames(db, now, 1), findOrphans(db, now - TURN_MS, 1)]);
  if (found.flat().length > 0) await tendHostnamesSoon(env);
}

/**
 * One run: leads some hostnames to the edge that don't lead there yet, and takes away some of what was made for those that no manifest
 * has any more. Answers when to come again, `now` being at once; null: there is nothing left that would go better than in a minute, when
 * the sweep looks. Who runs it at the same time takes other hostnames.
 */
export async function tendHostnames(env: ControlEnv, now: number): Promise<number | null> {
  const cf = openCloudflare(env);
  if (!cf) return null;
  const run = { cf, db: openDb(env.DB), now };
  const isMoreGoing = await removeOrphans(run);
  const due = await findDueHostnames(run.db, now, MOST_AT_ONCE + 1);
  for (const row of due.slice(0, MOST_AT_ONCE)) {
    if (!(await claimHostname(run.db, row.hostname, now, now + TURN_MS))) continue;
    // Nothing at Cloudflare would go better a moment later.
    if (!(await tend(run, row))) return null;
  }
  return isMoreGoing || due.length > MOST_AT_ONCE ? now : null;
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

/** Whether there are more of them that may go now. */
async function removeOrphans(run: HostnameRun): Promise<boolean> {
  const { db, now } = run;
  const rows = await findOrphans(db, now - TURN_MS, MOST_GOING + 1);
  // Records first: nobody is led to a name that nothing answers.
  for (const row of rows.slice(0, MOST_GOING).toSorted((a, b) => a.kind.localeCompare(b.kind))) {
    try {
      await removeOrphan(run, row);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      // Nobody waits for it, and the next run tries again.
      logWarning("hostname.not_removed", { name: row.name, cause: error.message });
      return false;
    }
    await forget(db, [row]);
    if (row.hostname !== null) await lookAgain(db, row.hostname);
  }
  return rows.length > MOST_GOING;
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
