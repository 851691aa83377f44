import { and, eq, isNull, lte, ne, or, sql } from "drizzle-orm";
import { type Db, runBatch } from "./db.ts";
import { insertEvent, type NewEvent } from "./events.ts";
import { isClaimed } from "./grants.ts";
import { apps } from "./schema/apps.ts";
import { environments } from "./schema/environments.ts";
import { hostnames } from "./schema/hostnames.ts";

type HostnameRow = typeof hostnames.$inferSelect;
export type RouteState = NonNullable<HostnameRow["routeState"]>;

export interface DueHostname {
  readonly hostname: string;
  readonly app: string;
  readonly environment: string;
  readonly environmentId: string;
  /** It may be taken from another site. */
  readonly isClaimed: boolean;
  /** A release holds its traffic. */
  readonly isLive: boolean;
  readonly state: RouteState | null;
  readonly cause: string | null;
}

const isDue = (now: number) =>
  and(
    or(isNull(hostnames.routeState), ne(hostnames.routeState, "ready")),
    or(isNull(hostnames.routeNextAt), lte(hostnames.routeNextAt, now)),
  );

/** Hostnames that don't lead to the edge yet, as far as is known, and are to be looked at by now. */
export const findDueHostnames = (db: Db, now: number, limit: number): Promise<DueHostname[]> =>
  db
    .select({
      hostname: hostnames.hostname,
      app: apps.name,
      environment: environments.name,
      environmentId: environments.id,
      isClaimed,
      isLive: sql<boolean>`${environments.stableReleaseId} IS NOT NULL`.mapWith(Boolean),
      state: hostnames.routeState,
      cause: hostnames.routeCause,
    })
    .from(hostnames)
    .innerJoin(environments, eq(environments.id, hostnames.environmentId))
    .innerJoin(apps, eq(apps.id, environments.appId))
    .where(and(isNull(environments.deletedAt), isDue(now)))
    .orderBy(hostnames.routeNextAt, hostnames.hostname)
    .limit(limit)
    .all();

/** Takes a hostname's turn until a time. False: somebody else has it. */
export async function claimHostname(db: Db, hostname: string, now: number, until: number): Promise<boolean> {
  const claimed = await db
    .update(hostnames)
    .set({ routeNextAt: until })
    .where(and(eq(hostnames.hostname, hostname), isDue(now)))
    .returning({ hostname: hostnames.hostname });
  return claimed.length > 0;
}

export interface Routed {
  readonly state: RouteState;
  readonly cause: string | null;
  readonly zoneId: string | null;
  readonly routeId: string | null;
  readonly recordId: string | null;
  /** Null: it is done. */
  readonly nextAt: number | null;
}

export async function writeRouted(
  db: Db,
  hostname: string,
  { state, cause, zoneId, routeId, recordId, nextAt }: Routed,
  event: (Pick<NewEvent, "at" | "type" | "actor" | "message"> & Partial<NewEvent>) | null,
): Promise<void> {
  await runBatch(db, [
    db
      .update(hostnames)
      .set({ routeState: state, routeCause: cause, zoneId, routeId, recordId, routeNextAt: nextAt })
      .where(eq(hostnames.hostname, hostname)),
    ...(event ? [insertEvent(db, event)] : []),
  ]);
}

/** It came back while what it had was removed: to be looked at anew. */
export async function lookAgain(db: Db, hostname: string): Promise<void> {
  await db
    .update(hostnames)
    .set({ routeState: null, routeCause: null, routeNextAt: null })
    .where(eq(hostnames.hostname, hostname));
}
