import type { World } from "./world.ts";

/** What instances and hosts of a world can meet. */
export const slots = { anna: 9, bert: 9 };
export const later = (world: World, ms: number) => world.run(world.now + ms);

/** Its instances (of one version, or some of them) end for good: reported, and silent on their path. */
export function die(world: World, version: string, count = Number.POSITIVE_INFINITY): void {
  const dead = world.instancesOf(version).filter(({ stoppedAt }) => stoppedAt === null);
  const ids = new Set(dead.slice(0, count).map(({ id }) => id));
  for (const instance of dead)
    if (ids.has(instance.id))
      Object.assign(instance, {
        reportState: "exited",
        reportAt: world.now,
        reportCause: "it exited with 1",
      });
  const before = world.agents.probe;
  world.agents = { ...world.agents, probe: (i) => (ids.has(i.id) ? "answered 530" : before(i)) };
}

/** The host's agent is not heard from, and nothing behind its tunnel answers. */
export function lose(world: World, name: string): void {
  for (const host of world.hosts) if (host.name === name) host.alive = false;
  const before = world.agents.probe;
  world.agents = { ...world.agents, probe: (i) => (i.hostName === name ? "answered 530" : before(i)) };
}

/** One unasked end, and it is back at once. */
export function exit(world: World, instance: { exits: readonly number[] } | undefined): void {
  if (instance) Object.assign(instance, { exits: [...instance.exits, world.now] });
}

export const alerts = (world: World) =>
  world.events.filter(({ type }) => type === "traffic.alert").map(({ message }) => message);
