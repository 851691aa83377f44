import { HISTOGRAM_BUCKETS } from "../routing/meter.ts";
import type { Compared, Judgement, Side } from "./decide.ts";
import { errorsByHost, latencyByHost } from "./host-words.ts";
import { percent } from "./numbers.ts";
import type { StepPolicy } from "./policy.ts";
import type { Culprit } from "./routes.ts";

/** What a failed verdict leads to; `tell` and `report`: nothing. */
type End = StepPolicy["onFailure"] | "tell" | "report";
const ENDS: Readonly<Record<End, string>> = {
  rollback: ": rolled back",
  pause: ": failed, paused",
  tell: "",
  report: "",
};

/**
 * One line for people, with the numbers the verdict was reached from. All of them are in the decision itself. `against`: whom it
 * was compared with; `version`: what the canary is called.
 */
export function describe(
  decision: Judgement,
  onFailure: End = "rollback",
  against = "on stable",
  version = "the canary",
): string {
  const text = textOf(decision, ENDS[onFailure], version).replaceAll("on stable", against);
  return text + differences(decision, version);
}

function differences({ differing }: Judgement, version: string): string {
  if (!differing) return "";
  const fields = differing.named.map(
    ({ route, field, answers, canary, stable }) =>
      `${route} ${field} in ${thousands(canary)} of ${thousands(answers)} (stable with itself ${thousands(stable)})`,
  );
  const more = differing.more > 0 ? ` and ${thousands(differing.more)} more` : "";
  const hint = howToIgnore(differing.named);
  return `; ${version} answers otherwise than stable: ${fields.join(", ")}${more}${hint && `; ${hint}`}`;
}

/** What to do where fields are to differ, as an app's own version is; empty: a status or a content type is none of its fields. */
export function howToIgnore(named: readonly { readonly field: string }[]): string {
  const paths = named
    .filter(({ field }) => field.startsWith("$"))
    .map(({ field }) => field.replace(/ order$/, ""));
  return paths.length > 0 ? `if meant, mirror: { ignore: ${JSON.stringify([...new Set(paths)])} }` : "";
}

function textOf(decision: Judgement, end: string, version: string): string {
  const { verdict, reason, rollout, suspicion, limits } = decision;
  const where = culprit(decision, version) + errorsByHost(decision.hosts);
  const places = latencyByHost(decision.hosts);
  switch (verdict) {
    case "rollback":
      switch (reason) {
        case "errors":
          return errors(suspicion) + where + end;
        case "error-ceiling":
          return `${errors(suspicion)}, over the limit of ${percent(limits.errorRateMax)}${where}${end}`;
        case "route":
          return `${named(decision.culprits[0], version)}; of all, ${errors(rollout)}${end}`;
        case "latency":
          return `${latency(suspicion, suspicion.quantile)}${synthetic(suspicion)}${places}${end}`;
        case "latency-ceiling":
          return `${latency(suspicion, 0.95)}${synthetic(suspicion)}, over the limit of ${thousands(limits.p95MaxMs ?? 0)} ms${end}`;
      }
      break;
    case "hold":
      return `stable itself fails (${percent(decision.recentBaselineErrorRate)} in the last minute), ${errors(rollout)}: holding`;
    case "pass":
      return `${errors(rollout)}, ${latency(rollout, 0.95)}${errorsByHost(decision.hosts)}${places}: no worse than stable`;
    case "continue":
      return reason === "low-traffic"
        ? `not enough data yet: ${errors(rollout)}; a verdict needs ${thousands(limits.minRequests)} canary requests${where}`
        : `not proven yet: ${errors(rollout)}, ${latency(rollout, 0.95)}${where}${places}`;
  }
}

/** Where it fails, if that is one place of several: a canary that fails everywhere fails nowhere in particular. */
function culprit({ culprits: [first], suspicion }: Judgement, version: string): string {
  if (!first) return "";
  const rest = {
    requests: suspicion.canary.requests - first.canary.requests,
    errors: suspicion.canary.errors - first.canary.errors,
  };
  const own = first.canary.errors / first.canary.requests;
  if (rest.requests <= 0 || own < 2 * (rest.errors / rest.requests)) return "";
  return `; ${named(first, version)}`;
}

function named(found: Culprit | undefined, version: string): string {
  if (!found) return "one route";
  const { route, canary, baseline, host } = found;
  const of = ({ requests, errors: failed }: { requests: number; errors: number }) =>
    `${thousands(failed)} of ${thousands(requests)}`;
  return `${route}: ${of(canary)} on ${version}, ${of(baseline)} on stable${host ? `, ${host} only` : ""}`;
}

function errors({ canary, baseline }: Compared): string {
  const counts = `${thousands(canary.requests)} and ${thousands(baseline.requests)} requests${synthetic({ canary, baseline })}`;
  return `errors ${rate(canary)} against ${rate(baseline)} on stable, ${counts}${visitors(canary, baseline)}`;
}

/** Said only where control visited: whom the requests came from. */
function synthetic({ canary, baseline }: Pick<Compared, "canary" | "baseline">): string {
  if (canary.synthetic === undefined && baseline.synthetic === undefined) return "";
  return `, of which ${thousands(canary.synthetic ?? 0)} and ${thousands(baseline.synthetic ?? 0)} synthetic`;
}

/** Said only where it differs: when some visitor met several errors in a window. */
function visitors(canary: Side, baseline: Side): string {
  if (canary.distinctErrors === null || baseline.distinctErrors === null) return "";
  if (canary.distinctErrors === canary.errors && baseline.distinctErrors === baseline.errors) return "";
  const each = (side: Side): string => `${thousands(side.distinctErrors ?? 0)} of ${thousands(side.errors)}`;
  return ` (errors counted once per visitor and window: ${each(canary)} and ${each(baseline)})`;
}

function latency({ canary, baseline }: Compared, q: number): string {
  const at = (side: Side): string => milliseconds(q === 0.95 ? side.p95Ms : side.quantileMs);
  return `p${Number((q * 100).toPrecision(4))} ${at(canary)} against ${at(baseline)} on stable, ${thousands(canary.answers)} and ${thousands(baseline.answers)} answers`;
}

/** Where the histogram's last bucket begins, which holds all that took longer. */
const SLOWEST_MS = 2 ** ((HISTOGRAM_BUCKETS - 1) / 8);

function milliseconds(ms: number | null): string {
  if (ms === null) return "unknown";
  return ms > SLOWEST_MS
    ? `over ${thousands(1_000 * Math.floor(SLOWEST_MS / 1_000))} ms`
    : `${thousands(Math.round(ms))} ms`;
}

function rate({ requests, errors: failed }: Side): string {
  if (requests === 0) return "unknown";
  const text = percent(failed / requests);
  return failed < requests && text === "100 %" ? "over 99 %" : text;
}

/** Own code: Intl would follow the machine's locale data, and verdicts must read the same everywhere. */
function thousands(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}
