import { type FoundRoute, routePattern } from "../../domain/tunnel.ts";
import type { Cloudflare } from "./cloudflare.ts";
import { ask, Refused } from "./refused.ts";

/** Worker routes: they run the edge on slots' hostnames (as their shield) and on public ones. */
const EDIT = "Zone › Workers Routes › Edit";
const MOST_ROUTES = 1_000;

/** Cloudflare lists all of a zone's in one answer. */
export async function listRoutes({ sdk }: Cloudflare, zone: string): Promise<FoundRoute[]> {
  const page = await ask(`list the Worker routes of zone ${zone}`, EDIT, async () =>
    sdk.workers.routes.list({ zone_id: zone }),
  );
  return page.result.map(({ id, pattern, script }) => ({ id, pattern, script: script || null }));
}

export async function createRoute(cf: Cloudflare, zone: string, hostname: string): Promise<string> {
  const pattern = routePattern(hostname);
  const of = { zone_id: zone, pattern, script: cf.settings.worker };
  const { id } = await ask(`make the Worker route ${pattern}`, EDIT, async () =>
    cf.sdk.workers.routes.create(of),
  );
  return id;
}

/** Leads a route of ours to the edge again. */
export const mendRoute = ({ sdk, settings }: Cloudflare, zone: string, id: string, hostname: string) =>
  ask(`change the Worker route of ${hostname}`, EDIT, async () =>
    sdk.workers.routes.update(id, {
      zone_id: zone,
      pattern: routePattern(hostname),
      script: settings.worker,
    }),
  );

export const deleteRoute = ({ sdk }: Cloudflare, zone: string, id: string) =>
  ask(`delete the Worker route ${id}`, EDIT, async () => sdk.workers.routes.delete(id, { zone_id: zone }));

/** Says it before Cloudflare does, with the numbers. */
export function refuseFullZone(zone: string, held: number, more: number): void {
  if (held + more <= MOST_ROUTES) return;
  const words = `zone ${zone} has ${held} Worker routes and Cloudflare allows ${MOST_ROUTES}: ${more} more, one for each slot or hostname, don't fit. Enrol hosts with fewer slots, or remove hosts or routes that nobody needs`;
  throw new Refused("quota", words, { retryAfterMs: 300_000 });
}
