import { logAdd, logSumExp } from "./evidence.ts";

/** Log evidence that survives JSON: −∞ ("never") is spelled out, since JSON would make it null. */
export type LogEvidence = number | "-Infinity";

export const toLog = (value: LogEvidence): number => (value === "-Infinity" ? -Infinity : value);
const fromLog = (value: number): LogEvidence => (value === -Infinity ? "-Infinity" : value);

/**
 * A change may begin at any window: the mixture holds one bet per possible beginning, w₁ = ½ on "from the start" and
 * 1/(2H) on each later window, so that a good past can't bury a late regression.
 */
export function restart(
  past: readonly LogEvidence[],
  logs: readonly number[],
  k: number,
  horizon: number,
): LogEvidence[] {
  const weight = k === 1 ? 0.5 : k <= horizon + 1 ? 1 / (2 * horizon) : 0;
  return past.map((value, i) => fromLog(logAdd(toLog(value), Math.log(weight)) + (logs[i] ?? 0)));
}

/** Mean over a test's components, as a log; −∞ before the first window. */
export function mixture(components: readonly LogEvidence[]): number {
  return logSumExp(components.map(toLog)) - Math.log(components.length);
}
