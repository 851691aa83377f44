import type { Draft } from "../rollout/draft.ts";
import { housing, JOB_SLACK_MS, needs, releaseEnv } from "../rollout/instances.ts";
import type { WorkerStartSpec } from "../rollout/jobs.ts";
import type { ReleaseFacts } from "../rollout/release.ts";
import { type WorkerSpec, workerOf } from "./process.ts";

/** A worker without a check is ready when it has stayed up for this long. */
const STEADY_MS = 3_000;

export interface WorkerPlace {
  readonly process: string;
  readonly hostId: string;
  readonly hostName: string;
}

/** Makes a worker and has it started. */
export function orderWorker(draft: Draft, release: ReleaseFacts, place: WorkerPlace): void {
  const worker = workerOf(release.spec, place.process);
  if (!worker) throw new Error(`release ${release.id} has no worker ${place.process}`);
  const id = draft.addWorker(release, place);
  draft.order({
    id: `start-${id}`,
    kind: "start",
    hostId: place.hostId,
    releaseId: release.id,
    instanceId: id,
    payload: {
      spec: workerSpec(draft.release(release.id) ?? release, { id, process: place.process, worker }),
      secrets: release.spec.secrets ?? [],
    },
    deadlineAt: draft.now + worker.health.deadlineMs + JOB_SLACK_MS / 2,
  });
  const data = { instance: id, host: place.hostName, process: place.process, state: "starting" };
  const message = `${place.process} of ${release.version} starts on ${place.hostName}`;
  draft.event("instance.state", release.id, message, data);
}

type OfRelease = Pick<ReleaseFacts, "id" | "version" | "spec" | "image" | "pinnedImage" | "git">;

/** What a host is to run: decided by the release, so the same whenever it is asked for. */
export function workerSpec(
  release: OfRelease,
  { id, process, worker }: { id: string; process: string; worker: WorkerSpec },
): WorkerStartSpec {
  const { spec } = release;
  const { health, stopGraceMs, command, resources = spec.resources } = worker;
  const check = health.command ? { command: health.command } : {};
  const probe = { ...check, timeoutMs: health.timeoutMs, intervalMs: health.intervalMs, successes: 1 };
  return {
    instance: id,
    release: release.id,
    version: release.version,
    app: spec.app,
    environment: spec.environment,
    worker: { process, ...(!health.command && { steadyMs: STEADY_MS }) },
    image: release.pinnedImage ?? release.image,
    command,
    env: { ...releaseEnv(release), ...worker.env },
    health: {
      startup: {
        ...probe,
        intervalMs: Math.min(1_000, probe.intervalMs),
        failures: 1,
        deadlineMs: health.deadlineMs,
      },
      readiness: { ...probe, failures: health.failures },
    },
    resources,
    logging: spec.logging,
    stopGraceMs,
    ...needs(spec),
    ...housing(spec),
  };
}
