/** Paused and in maintenance: holding requests for a switch that needs a moment, or saying that it takes longer. */
import type { Route } from "../domain/routing/choose.ts";
import type { TrafficMode } from "../domain/routing/table.ts";
import type { ErrorAnswer } from "./error-answer.ts";
import type { Tables } from "./table.ts";
import type { Visit } from "./visit.ts";

/** The longest hold, whatever the table says. */
const MOST_HELD_MS = 30_000;
const LOOK_EVERY_MS = 200;

/** The table that lets the visit pass, or what to answer instead. A paused visit is held until either is known. */
export async function waitForOpen(visit: Visit, tables: Tables): Promise<Route | ErrorAnswer> {
  const { hostname, url, env, ctx } = visit;
  let { route } = visit;
  const latest = visit.arrivedAt + MOST_HELD_MS;
  while (true) {
    const { mode } = route.table;
    if (mode.kind === "open") return route;
    if (mode.kind === "maintenance") return maintenance(mode, route);
    const left = Math.min(mode.until, latest) - Date.now();
    if (left <= 0) return paused(route);
    await scheduler.wait(Math.min(LOOK_EVERY_MS, left));
    const found =
      tables.fresh(hostname, url.target, Date.now()) ?? (await tables.find(hostname, url.target, env, ctx));
    if (typeof found !== "string") route = found;
  }
}

function maintenance(mode: Extract<TrafficMode, { kind: "maintenance" }>, { table }: Route): ErrorAnswer {
  return {
    status: 503,
    code: "maintenance",
    title: "Down for maintenance",
    detail: mode.message ?? `${table.app} is being worked on and will be back.`,
    retryAfterS: mode.retryAfterS,
  };
}

const paused = ({ table }: Route): ErrorAnswer => ({
  status: 503,
  code: "paused",
  title: "Not available just now",
  detail: `${table.app} is paused; this request was held as long as it may be. Please try again.`,
  retryAfterS: 5,
});
