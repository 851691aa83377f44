import { isOnline } from "../../host-online.ts";
import type { Draft } from "../draft.ts";
import type { EnvironmentFacts, HostFacts, InstanceFacts } from "../facts.ts";
import type { ReleaseFacts } from "../release.ts";
import { stop } from "../retire.ts";
import { askedUntil } from "../table/rest.ts";

/** Warm instances are there for an instant rollback, and give way to what needs their slots now: the oldest first. */

type Kept = Pick<EnvironmentFacts, "releases" | "instances" | "hosts">;

function reclaimable({ releases, instances, hosts }: Kept, now: number): InstanceFacts[] {
  const order = new Map(releases.map((release) => [release.id, release]));
  const madeAt = ({ releaseId }: InstanceFacts) => order.get(releaseId)?.createdAt ?? 0;
  const usable = usableIds(hosts, now);
  return instances
    .filter(
      ({ state, hostId, releaseId }) =>
        state === "warm" && usable.has(hostId) && isSpare(order.get(releaseId)),
    )
    .sort((a, b) => madeAt(a) - madeAt(b));
}

const usableIds = (hosts: readonly HostFacts[], now: number): ReadonlySet<string> =>
  new Set(hosts.filter((host) => isOnline(host, now)).map(({ id }) => id));

/** One on its way whose weight a person set to 0 is kept: its next step may want it. */
const isSpare = (release: ReleaseFacts | undefined): boolean =>
  release !== undefined && release.weightBp === 0 && release.state !== "shifting";

/** Stops as many warm instances as slots are wanted beyond those that are being freed. True: slots will be free. */
export function makeRoom(draft: Draft, wanted: number): boolean {
  if (wanted <= 0) return true;
  const now = draft.instances();
  const view = { releases: draft.releases(), instances: now, hosts: draft.facts.hosts };
  const usable = usableIds(draft.facts.hosts, draft.now);
  const isFreeing = ({ state, hostId }: InstanceFacts) => FREEING.includes(state) && usable.has(hostId);
  const freeing = now.filter(isFreeing).length;
  const spare = reclaimable(view, draft.now);
  for (const instance of spare.slice(0, Math.max(0, wanted - freeing))) letGo(draft, instance);
  return freeing + spare.length >= wanted;
}

/** Those that this very step saw stopped hold their slots until it is written. */
const FREEING: readonly InstanceFacts["state"][] = ["stopping", "stopped"];

function letGo(draft: Draft, instance: InstanceFacts): void {
  const release = draft.release(instance.releaseId);
  const until = release ? askedUntil(draft.facts, release, instance) : 0;
  if (until > draft.now) draft.wakeAt(until);
  else stop(draft, instance);
}

/** The hosts as they would be once every warm instance had made room. */
export const roomiest = (facts: Kept, now: number): readonly HostFacts[] =>
  without(facts, reclaimable(facts, now)).hosts;

/** Its slot is another's soon: it stops, or gives way as a warm one when it has drained. */
export const isLeaving = ({ state }: Pick<InstanceFacts, "state">): boolean =>
  state === "stopping" || state === "draining";

/** The environment once what is leaving is gone. */
export const withoutLeaving = (facts: EnvironmentFacts): EnvironmentFacts =>
  without(facts, facts.instances.filter(isLeaving));

/** The environment once so many warm instances have made room. */
export const withoutWarm = (facts: EnvironmentFacts, count: number, now: number): EnvironmentFacts =>
  without(facts, reclaimable(facts, now).slice(0, count));

function without<T extends Kept>(facts: T, gone: readonly InstanceFacts[]): T {
  const freed = new Set(gone.map(({ slotId }) => slotId));
  const hosts = facts.hosts.map((host) => ({
    ...host,
    slots: host.slots.map((slot) => (freed.has(slot.id) ? { ...slot, occupied: false } : slot)),
  }));
  return { ...facts, hosts, instances: facts.instances.filter((one) => !gone.includes(one)) };
}
