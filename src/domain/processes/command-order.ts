import type { Draft } from "../rollout/draft.ts";
import { housing, JOB_SLACK_MS, releaseEnv } from "../rollout/instances.ts";
import type { ReleaseFacts } from "../rollout/release.ts";
import type { RunFacts } from "./run.ts";

/** Gives a run to a host: in the release's image, with its variables and secrets, and what it shares with its accessories. */
export function orderCommand(
  draft: Draft,
  release: ReleaseFacts,
  { run, hostId }: { readonly run: RunFacts; readonly hostId: string },
): void {
  const { spec } = release;
  const process = run.process === null ? undefined : spec.processes?.[run.process];
  const attempts = run.attempts + 1;
  // The wire allows 64 characters.
  const id = `cmd-${attempts}-${run.id}`;
  draft.order({
    id,
    kind: "command",
    hostId,
    releaseId: release.id,
    instanceId: null,
    payload: {
      run: run.id,
      process: run.process ?? "",
      release: release.id,
      version: release.version,
      app: spec.app,
      environment: spec.environment,
      image: release.pinnedImage ?? release.image,
      command: run.command,
      env: { ...releaseEnv(release), ...process?.env },
      resources: process?.resources ?? spec.resources,
      ...housing(spec),
      secrets: spec.secrets ?? [],
    },
    deadlineAt: draft.now + run.deadlineMs + JOB_SLACK_MS,
  });
  draft.changeRun(run, { state: "queued", jobId: id, hostId, attempts, releaseId: release.id });
}
