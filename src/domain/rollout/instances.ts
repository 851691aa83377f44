import { accessoryId } from "../accessory.ts";
import { publicHost } from "../hostnames.ts";
import { type EnvironmentSpec, networkName, volumeName } from "../spec.ts";
import type { Draft } from "./draft.ts";
import type { InstanceFacts } from "./facts.ts";
import type { Housing, StartSpec } from "./jobs.ts";
import type { Placement } from "./placing/placement.ts";
import type { ReleaseFacts } from "./release.ts";

/** Beyond the startup deadline: for the job to reach the host and the answer to come back. */
export const JOB_SLACK_MS = 30_000;

type Place = Pick<InstanceFacts, "id" | "hostId" | "slot" | "hostPort">;

/** Makes an instance and has it started at once: how a rolling change grows. */
export function startInstance(draft: Draft, release: ReleaseFacts, slot: Placement): void {
  const id = draft.addInstance(release, slot, "starting");
  orderStart(draft, release, { id, hostId: slot.hostId, slot: slot.slot, hostPort: slot.hostPort });
  draft.event("instance.state", release.id, `${release.version} starts on ${slot.hostName}`, {
    instance: id,
    host: slot.hostName,
    slot: slot.slot,
    state: "starting",
  });
}

export function orderStart(draft: Draft, release: ReleaseFacts, place: Place): void {
  const { deadlineMs } = release.spec.health.startup;
  draft.order({
    id: `start-${place.id}`,
    kind: "start",
    hostId: place.hostId,
    releaseId: release.id,
    instanceId: place.id,
    payload: {
      spec: startSpec(draft.release(release.id) ?? release, place),
      secrets: release.spec.secrets ?? [],
    },
    deadlineAt: draft.now + deadlineMs + JOB_SLACK_MS / 2,
  });
}

/** What a host is to run: decided by the release, so the same whenever it is asked for. */
export function startSpec(
  release: Pick<ReleaseFacts, "id" | "version" | "spec" | "image" | "pinnedImage" | "git">,
  place: Omit<Place, "hostId">,
): StartSpec {
  const { spec } = release;
  return {
    instance: place.id,
    release: release.id,
    version: release.version,
    app: spec.app,
    environment: spec.environment,
    slot: place.slot,
    hostPort: place.hostPort,
    image: release.pinnedImage ?? release.image,
    containerPort: spec.port,
    ...(spec.command ? { command: spec.command } : {}),
    env: releaseEnv(release),
    health: spec.health,
    resources: spec.resources,
    logging: spec.logging,
    stopGraceMs: spec.stopGraceMs,
    ...needs(spec),
    ...housing(spec),
  };
}

/** Not said where there are none: older agents don't know the word. */
export const needs = (spec: EnvironmentSpec) =>
  spec.needs && spec.needs.length > 0
    ? { needs: spec.needs.map((name) => ({ name, accessory: accessoryId(spec, name) })) }
    : {};

/** The app's variables, the name that visitors know it by, and what it was built from. All that runs of a release gets them. */
export const releaseEnv = ({ spec, git }: Pick<ReleaseFacts, "spec" | "git">): Record<string, string> => ({
  ...spec.env,
  SLUICE_HOSTNAME: publicHost(spec.hostnames),
  ...(git && { SLUICE_GIT_SHA: git.sha }),
});

/** Where an environment's containers live, as the wire has it. */
export function housing(spec: EnvironmentSpec): Housing {
  const { volumes = [], container, verify, accessories = {} } = spec;
  const mounts = volumes.map((mount) => ({ ...mount, source: volumeName(spec, mount.source) }));
  return {
    volumes: mounts,
    ...(container && { container }),
    ...(verify && { verify }),
    // One network for each environment would use up an engine's address pools: only those with accessories have one.
    ...(Object.keys(accessories).length > 0 && { network: networkName(spec) }),
  };
}
