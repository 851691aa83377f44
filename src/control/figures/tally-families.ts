import { CHECKS, DURATION_BOUNDS, OUTCOMES, REASONS, type Tally } from "../../domain/rollout/tally.ts";
import type { MetricsRows } from "../store/figures/metrics.ts";
import type { Exposition } from "./exposition.ts";

type Rows = Pick<MetricsRows, "tallies" | "environments">;
type Environment = MetricsRows["environments"][number];

/** What deployments came to: the counters of the store, each label put back in its place. */
export function deploymentFamilies(out: Exposition, rows: Rows): void {
  const deployments = out.family("deployments_total", "counter", "Deployments by how they came out.");
  const outcomes = ({ strategy }: Environment) => OUTCOMES.map((outcome) => `${strategy}|${outcome}`);
  for (const { labels, names, value } of counters(rows, "deployments", outcomes))
    deployments.add(value, { ...names, strategy: labels[0] ?? "", status: labels[1] ?? "" });
  durations(out, rows);
  const rollbacks = out.family(
    "rollbacks_total",
    "counter",
    "Ways back that were begun, by why; `asked`: a person or a CI wanted it.",
  );
  for (const { labels, names, value } of counters(rows, "rollbacks", () => REASONS))
    rollbacks.add(value, { ...names, reason: labels[0] ?? "" });
  const checks = out.family(
    "health_check_failures_total",
    "counter",
    "Checks that failed after they had passed, or that a start waited for in vain.",
  );
  for (const { labels, names, value } of counters(rows, "checks", () => CHECKS))
    checks.add(value, { ...names, check: labels[0] ?? "" });
}

interface Counter {
  readonly labels: readonly string[];
  readonly names: { readonly app: string; readonly environment: string };
  readonly value: number;
}

/** One metric's counters of all environments; `always`: labels that are shown at 0 as well. */
function counters(
  { tallies, environments }: Rows,
  metric: Tally["metric"],
  always: (environment: Environment) => readonly string[],
): Counter[] {
  return environments.flatMap((environment) => {
    const own = tallies.filter((row) => row.environmentId === environment.id && row.metric === metric);
    const values = new Map(always(environment).map((labels) => [labels, 0]));
    for (const { labels, value } of own) values.set(labels, value);
    const names = { app: environment.app, environment: environment.name };
    return [...values].map(([labels, value]) => ({ labels: labels.split("|"), names, value }));
  });
}

function durations(out: Exposition, rows: Rows): void {
  const family = out.family(
    "deployment_duration_seconds",
    "histogram",
    "From the beginning of a deployment's work to all traffic, or to its end.",
  );
  const keyOf = ({ names, labels: [strategy, status] }: Counter, bound = "") =>
    [names.app, names.environment, strategy, status, bound].join("|");
  const counts = new Map(
    counters(rows, "duration", () => []).map((row) => [keyOf(row, row.labels[2]), row.value]),
  );
  const bounds = [...DURATION_BOUNDS.map(String), "+Inf"];
  for (const row of counters(rows, "durationSum", ({ strategy }) => [`${strategy}|success`])) {
    const buckets = bounds.map((bound) => [bound, counts.get(keyOf(row, bound)) ?? 0] as const);
    const [strategy = "", status = ""] = row.labels;
    family.addHistogram(buckets, row.value, { ...row.names, strategy, status });
  }
}
