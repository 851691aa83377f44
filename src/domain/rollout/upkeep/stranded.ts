import { workersOf } from "../../processes/process.ts";
import type { EnvironmentFacts } from "../facts.ts";
import { onlineHosts, type PlacementProblem, place } from "../placing/placement.ts";
import type { ReleaseFacts } from "../release.ts";

/** What becomes of all that an environment has on a host, should that be emptied. */
export interface Moving {
  /** What could go on nowhere else, in words; empty: all of it could, or there is nothing. */
  readonly stranded: readonly string[];
  /** Ids of the slots that the rest would take. */
  readonly takes: readonly string[];
}

/**
 * What an environment could move from a host, all of it at once and beside others (`taken`: slots that those are going to
 * take), and what not. What is kept warm counts for nothing: it would be stopped.
 */
export function movingFrom(
  facts: EnvironmentFacts,
  hostId: string,
  now: number,
  taken: ReadonlySet<string> = new Set(),
): Moving {
  const left = { ...facts, hosts: facts.hosts.filter(({ id }) => id !== hostId) };
  const stranded: string[] = [];
  const takes: string[] = [];
  for (const release of facts.releases.filter(({ weightBp }) => weightBp > 0)) {
    const there = facts.instances.filter(
      (instance) =>
        instance.releaseId === release.id && instance.hostId === hostId && instance.state === "serving",
    ).length;
    if (there === 0) continue;
    const spec = { ...release.spec, replicas: there };
    const placed = place({ ...withTaken(left, [...taken, ...takes]), spec }, now);
    if (placed.ok) takes.push(...placed.value.map(({ slotId }) => slotId));
    else
      stranded.push(
        `${there} of ${release.spec.replicas} instances of ${release.version} there: ${whyOf(left, placed.error)}`,
      );
  }
  return { stranded: [...stranded, ...besideTheWeb(left, hostId, now)].map(named(facts)), takes };
}

const whyOf = ({ hosts }: EnvironmentFacts, { detail }: PlacementProblem): string =>
  hosts.length === 0 ? "no other host has the labels it asks for" : detail;

const named =
  ({ app, name }: EnvironmentFacts) =>
  (words: string) =>
    `${app}/${name} has ${words}`;

function withTaken(facts: EnvironmentFacts, taken: readonly string[]): EnvironmentFacts {
  const ids = new Set(taken);
  const hosts = facts.hosts.map((host) => ({
    ...host,
    slots: host.slots.map((slot) => (ids.has(slot.id) ? { ...slot, occupied: true } : slot)),
  }));
  return { ...facts, hosts };
}

/** Workers and schedules need no slot, but a host that is there. */
function besideTheWeb(left: EnvironmentFacts, hostId: string, now: number): string[] {
  const owner = left.releases.find(({ id }) => id === left.stableReleaseId);
  if (!owner) return [];
  const online = onlineHosts({ ...left, spec: owner.spec }, now);
  if (online.ok) return [];
  const why = whyOf(left, online.error);
  const scheduled = Object.entries(owner.spec.processes ?? {}).filter(([, { kind }]) => kind === "scheduled");
  return [
    ...workersThere(left, owner, hostId).map((worker) => `${worker}: ${why}`),
    ...scheduled.map(([name]) => `the schedule of ${name}, which no other host would run: ${why}`),
  ];
}

/** `1 of 2 worker there` of each process that has any. */
function workersThere(facts: EnvironmentFacts, owner: ReleaseFacts, hostId: string): string[] {
  return workersOf(owner.spec).flatMap(([name, { replicas }]) => {
    const there = (facts.workers ?? []).filter(
      (worker) =>
        worker.process === name &&
        worker.releaseId === owner.id &&
        worker.hostId === hostId &&
        worker.state !== "stopping",
    ).length;
    return there > 0 ? [`${there} of ${replicas} of the process ${name} there`] : [];
  });
}
