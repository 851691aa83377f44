import { env } from "cloudflare:workers";
import type { Meter } from "../../../src/control/meter/meter.ts";
import { partOf } from "../../../src/control/meter/meter-parts.ts";
import type { MeterBatch, MeterEntry } from "../../../src/domain/routing/meter.ts";

/** What one isolate counted of one instance; errors are of as many different visitors. */
export function counts(
  release: string,
  window: number,
  requests: number,
  errors = 0,
  more: Partial<MeterEntry> = {},
): MeterEntry {
  return {
    release,
    instance: `${release}-1`,
    window,
    requests,
    errors,
    pathErrors: 0,
    classes: [0, 0, requests - errors, 0, 0, errors],
    rescued: 0,
    failed: errors,
    latency: [[50, Math.max(0, requests - errors)]],
    erroredVisitors: Array.from({ length: errors }, (_, n) => (n * 37 + window / 10_000) % 10_000),
    eligible: true,
    ...more,
  };
}

let made = 0;
export const batchOf = (entries: readonly MeterEntry[], id = `batch-${++made}`): MeterBatch => ({
  id,
  environment: "env_1",
  colo: "AMS",
  entries,
  mirrored: [],
});

/** The very object that counts this data centre's batches. */
export const meterOf = (environment: string, colo: string): DurableObjectStub<Meter> =>
  env.METER.getByName(partOf(environment, colo)) as unknown as DurableObjectStub<Meter>;
