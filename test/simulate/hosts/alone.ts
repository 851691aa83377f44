import type { Container } from "./container.ts";

const RUNS: readonly Container["state"][] = ["booting", "ready"];

interface Machine {
  readonly isRemoved: boolean;
  readonly containers: ReadonlyMap<string, Container>;
}

/** What runs beside a worker that must be the only one of its process; undefined: nothing does. */
export function besideOf(one: Container, hosts: readonly Machine[]): Container | undefined {
  // A machine that was removed is gone, with what ran on it.
  const there = hosts.filter(({ isRemoved }) => !isRemoved);
  const others = there.flatMap(({ containers }) => [...containers.values()]);
  if (!others.includes(one) && hosts.some(({ containers }) => containers.has(one.id))) return undefined;
  // Who scaled it up meant it to have siblings of its own release from then on.
  const isSibling = (other: Container) => other.releaseId === one.releaseId && !other.worker?.isAlone;
  return others.find(
    (other) =>
      other !== one &&
      other.worker?.process === one.worker?.process &&
      RUNS.includes(other.state) &&
      !isSibling(other),
  );
}
