import { lockOf } from "../../domain/rollout/lock.ts";
import { FULL_WEIGHT } from "../../domain/routing/table.ts";
import type { ReleaseTotal } from "../meter/totals.ts";
import type { MetricsRows } from "../store/figures/metrics.ts";
import { Exposition } from "./exposition.ts";
import { hostFamilies } from "./host-families.ts";
import { latencyBuckets, latencySum } from "./latency.ts";
import { deploymentFamilies } from "./tally-families.ts";
import { verdictFamilies } from "./verdict-families.ts";

/** What the meter says of one environment. Null: it did not answer in time, and its counters are left out. */
export type Metered = { readonly releases: ReadonlyMap<string, ReleaseTotal>; readonly lagMs: number } | null;

export interface MetricsInput {
  readonly rows: MetricsRows;
  /** By environment id. */
  readonly metered: ReadonlyMap<string, Metered>;
  readonly version: string;
  /** Epoch ms. */
  readonly now: number;
}

type Release = MetricsRows["releases"][number];
type Names = { readonly app: string; readonly environment: string };

/** All metrics as text: a pure function of rows, so that every isolate says the same. */
export function metricsText({ rows, metered, version, now }: MetricsInput): string {
  const out = new Exposition();
  const names = new Map<string, Names>(
    rows.environments.map(({ id, app, name }) => [id, { app, environment: name }]),
  );
  out.family("build_info", "gauge", "Control's version.").add(1, { version });
  out
    .family("environments_left_out", "gauge", "Environments beyond the most that one scrape shows.")
    .add(rows.left);
  deploymentFamilies(out, rows);
  releaseFamilies(out, rows, names);
  requestFamilies(out, { rows, metered, names });
  verdictFamilies(out, rows, names);
  stateFamilies(out, rows, names);
  lockFamily(out, rows, now);
  if (rows.isWhole) hostFamilies(out, rows, now);
  return out.text();
}

function releaseFamilies(out: Exposition, rows: MetricsRows, names: ReadonlyMap<string, Names>): void {
  const weight = out.family(
    "release_weight",
    "gauge",
    "Share of the traffic that a release is meant to get, 0 to 1.",
  );
  const info = out.family(
    "release_info",
    "gauge",
    "A release on its way or with traffic: its part, its state, its id.",
  );
  for (const release of rows.releases) {
    const labels = { ...names.get(release.environmentId), release: release.version };
    weight.add(release.weightBp / FULL_WEIGHT, labels);
    info.add(1, { ...labels, id: release.id, role: roleOf(rows, release), state: release.state });
  }
}

/** `canary`: beside the stable one, however it is brought in. */
function roleOf(rows: MetricsRows, release: Release): string {
  const stable = rows.environments.find(({ id }) => id === release.environmentId)?.stableReleaseId;
  return stable === release.id ? "stable" : "canary";
}

function requestFamilies(
  out: Exposition,
  { rows, metered, names }: Pick<MetricsInput, "rows" | "metered"> & { names: ReadonlyMap<string, Names> },
): void {
  const requests = out.family(
    "requests_total",
    "counter",
    "Requests sent to a release, by the class of its answer; `none`: it did not answer.",
  );
  const failed = out.family(
    "failed_requests_total",
    "counter",
    "Requests first sent to a release whose visitor saw an error in the end.",
  );
  const seconds = out.family(
    "request_duration_seconds",
    "histogram",
    "Time to the head of a release's good answers. The sum is an estimate from the buckets.",
  );
  for (const { id, environmentId, version } of rows.releases) {
    const total = metered.get(environmentId)?.releases.get(id);
    if (!total) continue;
    const labels = { ...names.get(environmentId), release: version };
    for (const [at, count] of total.classes.entries())
      if (count > 0 || at === 2 || at === 5)
        requests.add(count, { ...labels, class: at === 0 ? "none" : `${at}xx` });
    failed.add(total.failed, labels);
    seconds.addHistogram(latencyBuckets(total.latency), latencySum(total.latency), labels);
  }
  const up = out.family("meter_up", "gauge", "Whether the counts of an environment could be read.");
  const lag = out.family(
    "meter_lag_seconds",
    "gauge",
    "How long counts have waited to be in the totals; 0: all are.",
  );
  for (const [id, said] of metered) {
    up.add(said ? 1 : 0, names.get(id));
    if (said) lag.add(said.lagMs / 1_000, names.get(id));
  }
}

function stateFamilies(out: Exposition, rows: MetricsRows, names: ReadonlyMap<string, Names>): void {
  const instances = out.family("instances", "gauge", "Instances and workers that are not stopped, by state.");
  for (const { environmentId, state, count } of rows.instances)
    instances.add(count, { ...names.get(environmentId), state });
  const jobs = out.family("jobs", "gauge", "Jobs that are not finished, by state.");
  for (const { environmentId, state, count } of rows.jobs)
    jobs.add(count, { ...names.get(environmentId), state });
}

function lockFamily(out: Exposition, rows: MetricsRows, now: number): void {
  const held = out.family(
    "lock_held_seconds",
    "gauge",
    "For how long an environment's lock has been held, by a release or a person; 0: it is free.",
  );
  for (const { id, app, name, fence, held: byPerson } of rows.environments) {
    const releases = rows.releases.filter((release) => release.environmentId === id);
    const lock = lockOf({ releases, held: byPerson, fence }, now);
    held.add(lock ? Math.max(0, now - lock.since) / 1_000 : 0, { app, environment: name });
  }
}
