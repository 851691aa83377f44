import type { MetricsRows } from "../store/figures/metrics.ts";
import type { Exposition } from "./exposition.ts";

type Names = { readonly app: string; readonly environment: string };

/** What the judge of each canary has, against what it would act on: natural logarithms of evidence (canary.md). */
export function verdictFamilies(
  out: Exposition,
  { verdicts }: MetricsRows,
  names: ReadonlyMap<string, Names>,
): void {
  const info = out.family("verdict_info", "gauge", "The judge's last word on a canary that is on its way.");
  const families = [evidence(out), sides(out), answers(out), synthetic(out)];
  for (const { environmentId, version, verdict, numbers } of verdicts) {
    const labels = { ...names.get(environmentId), release: version };
    info.add(1, { ...labels, verdict });
    for (const add of families) add(numbers, labels);
  }
}

type Add = (numbers: MetricsRows["verdicts"][number]["numbers"], labels: Labels) => void;
type Labels = Partial<Names> & { readonly release: string };

function evidence(out: Exposition): Add {
  const value = out.family(
    "verdict_value",
    "gauge",
    "Evidence, as a natural logarithm: that a canary is worse, over its limits, or good enough.",
  );
  const threshold = out.family("verdict_threshold", "gauge", "The evidence on which the judge acts.");
  return (numbers, labels) => {
    const measures: [string, number | null, number][] = [
      ["worse", numbers.logE, numbers.limits.worse],
      ["error_ceiling", numbers.logGuard, numbers.limits.guard],
      ["p95_ceiling", numbers.logP95, numbers.limits.guard],
      ["good", numbers.logPass, numbers.limits.pass],
    ];
    for (const [measure, now, limit] of measures) {
      if (now === null) continue;
      value.add(now, { ...labels, measure });
      threshold.add(limit, { ...labels, measure });
    }
  };
}

function sides(out: Exposition): Add {
  const rate = out.family(
    "verdict_error_ratio",
    "gauge",
    "Errors per request since the rollout began, as the judge sees them.",
  );
  const p95 = out.family(
    "verdict_p95_seconds",
    "gauge",
    "95th percentile since the rollout began, as the judge sees it.",
  );
  const seen = out.family(
    "verdict_requests",
    "gauge",
    "Requests that the judge has seen since the rollout began.",
  );
  return ({ rollout }, labels) => {
    for (const [role, side] of [
      ["canary", rollout.canary],
      ["stable", rollout.baseline],
    ] as const) {
      seen.add(side.requests, { ...labels, role });
      if (side.requests > 0) rate.add(side.errors / side.requests, { ...labels, role });
      if (side.p95Ms !== null) p95.add(side.p95Ms / 1_000, { ...labels, role });
    }
  };
}

/** Absent where nothing is compared. */
function answers(out: Exposition): Add {
  const compared = out.family(
    "verdict_compared_answers",
    "gauge",
    "Mirrored answers that the judge has compared with stable's since the rollout began.",
  );
  const differ = out.family(
    "verdict_differing_fields",
    "gauge",
    "Fields of those answers that differ for the canary alone.",
  );
  return ({ answersCompared, differing }, labels) => {
    if (answersCompared === undefined) return;
    compared.add(answersCompared, labels);
    differ.add(differing ? differing.named.length + differing.more : 0, labels);
  };
}

/** Absent where there are none. */
function synthetic(out: Exposition): Add {
  const asked = out.family(
    "verdict_synthetic_requests",
    "gauge",
    "Requests of either side that control made itself since the rollout began.",
  );
  return ({ synthetic: made }, labels) => {
    if (!made) return;
    asked.add(made.canary, { ...labels, role: "canary" });
    asked.add(made.baseline, { ...labels, role: "stable" });
  };
}
