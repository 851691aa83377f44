import { scheduleText } from "../../domain/processes/schedule.ts";
import type { ProcessView } from "../../protocol/api/processes.ts";
import { isoOrNull } from "../iso.ts";
import type { EnvironmentStatus } from "../store/status.ts";

/** The processes of what is live, as a status shows them. */
export function processViews({ environment, releases, workers }: EnvironmentStatus): ProcessView[] {
  const live = releases.find(({ id }) => id === environment.stableReleaseId);
  if (!live) return [];
  return Object.entries(live.spec.processes ?? {}).map(([name, process]): ProcessView => {
    const cause = live.workerTroubles?.[name]?.message ?? null;
    if (process.kind === "scheduled") {
      const nextAt = isoOrNull(environment.schedules?.[name]?.dueAt ?? null);
      const schedule = scheduleText(process.schedule);
      return { name, kind: "scheduled", replicas: null, ready: null, schedule, nextAt, cause };
    }
    const ready = workers.filter(
      (one) =>
        one.process === name &&
        one.releaseId === live.id &&
        one.state === "ready" &&
        one.reportState === "ready",
    ).length;
    return { name, kind: "worker", replicas: process.replicas, ready, schedule: null, nextAt: null, cause };
  });
}
