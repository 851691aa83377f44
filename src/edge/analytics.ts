import type { MeterBatch } from "../domain/routing/meter.ts";
import type { Env } from "./env.ts";

/** What Analytics Engine takes from one invocation. */
const MOST_POINTS = 250;

/** Copies a batch to Analytics Engine, when bound: sampled there, for dashboards; verdicts use control's exact counts. */
export function writeAnalytics(env: Env, batch: MeterBatch): void {
  if (env.ANALYTICS === undefined) return;
  for (const entry of batch.entries.slice(0, MOST_POINTS)) {
    const { release, instance, window, requests, errors, pathErrors, rescued, failed, eligible } = entry;
    env.ANALYTICS.writeDataPoint({
      indexes: [batch.environment],
      blobs: [release, instance, batch.colo, eligible ? "eligible" : "other"],
      doubles: [window, requests, errors, pathErrors, rescued, failed, ...entry.classes],
    });
  }
}
