import { parseArgs } from "node:util";

/** Milliseconds to D1 and back, as `--d1-latency` says. */
export const D1_MS = Number(
  parseArgs({ options: { "d1-latency": { type: "string" } }, strict: false }).values["d1-latency"] ?? 0,
);

/**
 * A module around control whose database is so far away: each trip to D1 takes as long, and is counted. A batch is one trip. Its
 * address `/bench/trips` answers how many there were, of all, of the coordinators, and of requests; `/bench/far?ms=` moves it.
 */
export const aroundFarDatabase = (ms: number): string => `
import control, * as all from "./control.mjs";
export * from "./control.mjs";
let farMs = ${ms};
const trips = { all: 0, coordinator: 0, api: 0 };
const trip = async (who, work) => {
  trips.all += 1;
  if (who in trips) trips[who] += 1;
  if (farMs > 0) await new Promise((resolve) => setTimeout(resolve, farMs));
  return work();
};
const RAW = Symbol();
const far = (db, who) => new Proxy(db, {
  get(target, key) {
    if (key === "prepare") return (text) => statement(target.prepare(text), who);
    if (key === "batch") return (many) => trip(who, () => target.batch(many.map((one) => one[RAW])));
    const value = Reflect.get(target, key);
    return typeof value === "function" ? value.bind(target) : value;
  },
});
const statement = (raw, who) => new Proxy(raw, {
  get(target, key) {
    if (key === RAW) return target;
    if (key === "bind") return (...values) => statement(target.bind(...values), who);
    const value = Reflect.get(target, key);
    return typeof value === "function" ? (...args) => trip(who, () => value.apply(target, args)) : value;
  },
});
const away = (env, who) => ({ ...env, DB: far(env.DB, who) });
export class Coordinator extends all.Coordinator {
  constructor(state, env) { super(state, away(env, "coordinator")); }
}
export class HostLink extends all.HostLink {
  constructor(state, env) { super(state, away(env, "link")); }
}
export class EdgePort extends all.EdgePort {
  constructor(ctx, env) { super(ctx, away(env, "edge")); }
}
export default {
  ...control,
  fetch(request, env, ctx) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/bench/far") farMs = Number(searchParams.get("ms"));
    return pathname.startsWith("/bench/") ? Response.json(trips) : control.fetch(request, away(env, "api"), ctx);
  },
  scheduled: (event, env, ctx) => control.scheduled(event, away(env, "sweep"), ctx),
};
`;
