import { reachable } from "../../accessory.ts";
import { HOST_OFFLINE_MS, isOnline } from "../../host-online.ts";
import { publicHost } from "../../hostnames.ts";
import { err, ok, type Result } from "../../result.ts";
import type { EnvironmentSpec } from "../../spec.ts";
import { spell } from "../../times.ts";
import type { EnvironmentFacts, HostFacts, SlotFacts } from "../facts.ts";

/**
 * A slot rests for so long after its last instance before it may go to another app: an edge that control has not vouched to
 * for ten minutes looks at the KV copy before it serves on, and that copy names the slot no more.
 */
export const SLOT_REST_MS = 15 * 60_000;

export interface Placement {
  readonly hostId: string;
  readonly hostName: string;
  readonly slotId: string;
  readonly slot: number;
  readonly hostPort: number;
}

export interface PlacementProblem {
  readonly code: "no_hosts" | "no_slots";
  readonly detail: string;
}

/**
 * Where a release's instances go: one at a time to the host that got the fewest of them, so that they spread, then to the
 * one that has the fewest of this environment's; on a host, to a slot the environment already holds before a fresh one, so that the pool stays large.
 */
export function place(
  facts: EnvironmentFacts,
  now: number,
  /** Hosts to be used only when no other has a slot. */
  avoid: readonly string[] = [],
): Result<readonly Placement[], PlacementProblem> {
  const { spec } = facts;
  const online = onlineHosts(facts, now);
  if (!online.ok) return online;
  const name = publicHost(spec.hostnames);
  const pools = online.value.map((host) => ({
    host,
    placed: 0,
    avoided: avoid.filter((id) => id === host.id).length,
    load: loadOf(facts, host),
    free: host.slots
      .filter((slot) => isFree(slot, facts.id, now))
      .sort((a, b) => effortOf(a, name) - effortOf(b, name) || a.n - b.n),
  }));
  const placements: Placement[] = [];
  while (placements.length < spec.replicas) {
    const [pool] = pools
      .filter(({ free }) => free.length > 0)
      .sort(
        (a, b) => a.avoided - b.avoided || a.placed - b.placed || a.load - b.load || byName(a.host, b.host),
      );
    const slot = pool?.free.shift();
    if (!pool || !slot)
      return err({ code: "no_slots", detail: whyNoSlot(facts, placements.length, online.value) });
    pool.placed += 1;
    placements.push({
      hostId: pool.host.id,
      hostName: pool.host.name,
      slotId: slot.id,
      slot: slot.n,
      hostPort: slot.hostPort,
    });
  }
  return ok(placements);
}

/**
 * A canary is compared with stable, so it goes where stable is: on a host of its own, that host's troubles would look like
 * the release's. Everything else goes where least of the environment is.
 */
function loadOf({ spec, instances, stableReleaseId }: EnvironmentFacts, { id }: HostFacts): number {
  const here = instances.filter(({ hostId }) => hostId === id);
  const beside = here.some(({ releaseId, state }) => releaseId === stableReleaseId && state === "serving");
  return spec.strategy.kind === "canary" && beside ? -1 : here.length;
}

/** Hosts that an instance may be put on now: online, and where its accessories can be reached. Not empty. */
export function onlineHosts(
  facts: EnvironmentFacts,
  now: number,
): Result<readonly HostFacts[], PlacementProblem> {
  const labelled = facts.hosts.filter(({ labels }) => !labels || hasLabels(labels, facts.spec));
  const hosts = reachable({ ...facts, hosts: labelled });
  if (!hosts.ok) return hosts;
  const online = hosts.value.filter((host) => isOnline(host, now) && !host.draining);
  if (online.length > 0) return ok(online);
  return err({ code: "no_hosts", detail: whyNoHost({ ...facts, hosts: hosts.value }) });
}

export const hasLabels = (labels: Readonly<Record<string, string>>, { hosts }: EnvironmentSpec): boolean =>
  Object.entries(hosts).every(([key, value]) => labels[key] === value);

/** May a new instance of this environment go into the slot? */
function isFree(slot: SlotFacts, environmentId: string, now: number): boolean {
  if (slot.occupied || (slot.asideUntil ?? 0) > now) return false;
  return slot.environmentId === null || slot.environmentId === environmentId;
}

/** What taking it costs: the environment's own; one whose tunnel has its name already; one that nobody has had; another's before. */
function effortOf({ environmentId, publicHost: named = null }: SlotFacts, name: string): number {
  if (environmentId !== null) return 0;
  if (named === name) return 1;
  return named === null ? 2 : 3;
}

const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);

function whyNoHost({ spec, hosts }: EnvironmentFacts): string {
  const labels = Object.entries(spec.hosts).map(([key, value]) => `${key}=${value}`);
  const wanted = labels.length > 0 ? ` with ${labels.join(", ")}` : "";
  if (hosts.length === 0) return `no host${wanted} is enrolled: add one with \`sluice hosts enroll\``;
  const namesOf = (some: readonly HostFacts[]) => some.map((host) => host.name).join(", ");
  const emptied = hosts.filter((host) => host.draining);
  const offline = hosts.filter((host) => !host.draining);
  const isSilent = `their agents have not been heard from for ${HOST_OFFLINE_MS / 1000} s`;
  if (emptied.length === 0) return `every host${wanted} is offline (${namesOf(hosts)}): ${isSilent}`;
  const others = offline.length > 0 ? `, and the others are offline (${namesOf(offline)}): ${isSilent}` : "";
  return `of the hosts${wanted}, ${namesOf(emptied)} ${emptied.length === 1 ? "drains" : "drain"}${others}: \`sluice hosts drain --undo\` lets one carry again`;
}

function whyNoSlot({ spec, id }: EnvironmentFacts, placed: number, online: readonly HostFacts[]): string {
  let reserved = 0;
  const counts = online.map((host) => {
    const used = host.slots.filter((slot) => slot.occupied).length;
    const foreign = host.slots.filter(
      (slot) => !slot.occupied && slot.environmentId && slot.environmentId !== id,
    ).length;
    reserved += foreign;
    return `${host.name}: ${host.slots.length} slots, ${used} in use${foreign > 0 ? `, ${foreign} reserved for others` : ""}`;
  });
  const isBound = Object.keys(spec.accessories ?? {}).length > 0;
  const more = isBound ? "enrol the accessories' host with more slots" : "add a host";
  const wanted = spec.replicas === 1 ? "1 instance is wanted" : `${spec.replicas} instances are wanted`;
  const found = placed === 0 ? "none" : placed;
  const less = "lower `replicas` or `keep`";
  const remedies =
    reserved > 0
      ? `${more}, ${less}, or wait: what is reserved is free ${spell(SLOT_REST_MS)} after its last instance`
      : `${more}, or ${less}`;
  return `${wanted}, and ${found} found a free slot (${counts.join("; ")}): ${remedies}`;
}
