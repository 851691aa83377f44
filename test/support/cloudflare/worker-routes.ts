import { z } from "zod";
import { zoneOf } from "./accounts.ts";
import { bodyOf, type Call, type Endpoint, notFound, Refusal } from "./api.ts";
import { drop, type WorkerRoute, type World, type Zone } from "./world.ts";

const newRoute = z.strictObject({ pattern: z.string().min(1), script: z.string().optional() });

const BASE = "/zones/:zone/workers/routes";
const EDIT = "Zone › Workers Routes › Edit";
const READ = "Zone › Workers Routes › Read";

/** Worker routes: which URLs of a zone run which Worker. */
export const workerRoutes = (world: World): Endpoint[] => [
  {
    method: "GET",
    path: BASE,
    permission: READ,
    // All of them in one answer, however many.
    handle: (call) =>
      world.routes
        .filter(({ zone }) => zone === zoneOf(world, call).id)
        .map((route) => routeView(world, route)),
  },
  {
    method: "GET",
    path: `${BASE}/:route`,
    permission: READ,
    handle: (call) => routeView(world, routeOf(world, call)),
  },
  {
    method: "POST",
    path: BASE,
    permission: EDIT,
    body: newRoute,
    handle: (call) => {
      const zone = zoneOf(world, call);
      const { pattern, script } = checked(world, zone, bodyOf(call, newRoute));
      const host = pattern.replace(/\/.*/, "");
      if (!world.unknowns.routeFirst && !world.records.some(({ name }) => name === host))
        throw new Refusal(400, 10_023, "There is no DNS record for this route");
      if (world.routes.filter((route) => route.zone === zone.id).length >= zone.maxRoutes)
        throw new Refusal(400, 10_034, `You have exceeded the limit of ${zone.maxRoutes} routes`);
      const route = { id: world.hexId(), zone: zone.id, pattern, script: script ?? null };
      world.routes.push(route);
      return routeView(world, route);
    },
  },
  {
    method: "PUT",
    path: `${BASE}/:route`,
    permission: EDIT,
    body: newRoute,
    handle: (call) => {
      const route = routeOf(world, call);
      const { pattern, script } = checked(world, zoneOf(world, call), bodyOf(call, newRoute), route);
      return routeView(world, Object.assign(route, { pattern, script: script ?? null }));
    },
  },
  {
    method: "DELETE",
    path: `${BASE}/:route`,
    permission: EDIT,
    handle: (call) => {
      const route = routeOf(world, call);
      drop(world.routes, route);
      return { id: route.id };
    },
  },
];

function checked(world: World, zone: Zone, asked: z.infer<typeof newRoute>, self?: WorkerRoute) {
  const wrong = wrongPattern(asked.pattern, zone.name);
  if (wrong) throw new Refusal(400, 10_022, `invalid route pattern ${asked.pattern}: ${wrong}`);
  if (
    world.routes.some((route) => route !== self && route.zone === zone.id && route.pattern === asked.pattern)
  )
    throw new Refusal(409, 10_020, "A route with the same pattern already exists.");
  if (asked.script !== undefined && !world.scripts.has(asked.script)) {
    const words =
      "Cannot configure a route for a Worker which does not exist. Please ensure this Worker exists and try again.";
    throw new Refusal(400, 10_019, words);
  }
  return asked;
}

/** `*` only as the first character of the host and the last of the path; no query; the zone's own names only. */
function wrongPattern(pattern: string, zone: string): string | null {
  const [, host = "", path = ""] = /^(?:https?:\/\/)?([^/?#]*)(.*)$/.exec(pattern) ?? [];
  if (/[?#]/.test(path)) return "no query may be in it";
  if (path.slice(0, -1).includes("*")) return "the path may have a wildcard at its end only";
  if (host.slice(1).includes("*")) return "the host may have a wildcard at its start only";
  if (host.includes(":")) return "no port may be in it";
  const name = host.replace(/^\*\.?/, "").toLowerCase();
  return name === zone || name.endsWith(`.${zone}`) ? null : `it is not within ${zone}`;
}

function routeOf(world: World, call: Call): WorkerRoute {
  const zone = zoneOf(world, call);
  const route = world.routes.find(({ id, zone: of }) => of === zone.id && id === call.params.route);
  if (!route) throw notFound("Route");
  return route;
}

const routeView = ({ unknowns }: World, { id, pattern, script }: WorkerRoute) => ({
  id,
  pattern,
  ...(script ? { script } : {}),
  ...(unknowns.failOpen === null ? {} : { request_limit_fail_open: unknowns.failOpen }),
});
