import type { Amount } from "../../../src/domain/spec.ts";
import { aSpec } from "./spec.ts";
import { type Job, World } from "./world.ts";

/** Rolling releases, as their tests begin and follow them. */
export const dead = { code: "exited", message: "it ended", exitCode: 1, logs: [] };
export const SECOND = 1_000;
export const MINUTE = 60_000;

export interface Shape {
  readonly replicas?: number;
  readonly surge?: Amount;
  readonly unavailable?: Amount;
  readonly hosts?: Readonly<Record<string, number>>;
}
export const strategyOf = ({ surge = { count: 1 }, unavailable = { count: 0 } }: Shape) =>
  ({ kind: "rolling", maxSurge: surge, maxUnavailable: unavailable }) as const;

/** v1 serves with all its replicas; every write from now on is noted. */
export function rolling(shape: Shape = {}): World & { seen: Seen[] } {
  const world = new World(shape.hosts ?? { anna: 8, bert: 8 });
  world.spec = aSpec({ replicas: shape.replicas ?? 4, strategy: strategyOf(shape), keepMs: 0 });
  world.deploy();
  world.run();
  return watched(world);
}

export interface Seen {
  readonly serving: number;
  readonly existing: number;
  readonly weights: Readonly<Record<string, number>>;
}
export function watched(world: World): World & { seen: Seen[] } {
  const seen: Seen[] = [];
  const apply = world.apply.bind(world);
  world.apply = (decision) => {
    apply(decision);
    const count = (...states: string[]) =>
      world.instances.filter(({ state }) => states.includes(state)).length;
    const existing = count("pending", "starting", "ready", "serving");
    seen.push({ serving: count("serving"), existing, weights: world.weights() });
  };
  return Object.assign(world, { seen });
}
export const breaks = (matches: (job: Job) => boolean) => (job: Job) =>
  job.kind === "start" && matches(job) ? { error: dead } : {};
/** Goes on until so many of the release serve. */
export function untilServing(world: World, version: string, count: number): void {
  for (let pass = 0; pass < 200; pass++) {
    const serving = () => world.releases.some((r) => r.version === version) && world.statesOf(version);
    if ((serving() || []).filter((state) => state === "serving").length >= count) return;
    const before = JSON.stringify([world.instances, world.jobs]);
    world.step();
    if (before === JSON.stringify([world.instances, world.jobs])) world.now += SECOND;
  }
  throw new Error(`${version} never had ${count} serving`);
}
