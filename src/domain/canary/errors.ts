import type { CanaryConfig } from "./config.ts";
import { logEError } from "./evidence.ts";
import type { CanaryWindow } from "./window.ts";

export type Arms = Pick<CanaryWindow, "canary" | "baseline">;

/** Whether both sides can tell visitors apart; else all errors count on both. */
export const isPerVisitor = ({ canary, baseline }: Arms, config: CanaryConfig): boolean =>
  config.perVisitor && canary.distinctErrors !== undefined && baseline.distinctErrors !== undefined;

/** Retries of one unlucky visitor are one error. */
export function countErrors(window: Arms, config: CanaryConfig): { canary: number; baseline: number } {
  const { canary, baseline } = window;
  if (!isPerVisitor(window, config)) return { canary: canary.errors, baseline: baseline.errors };
  return { canary: canary.distinctErrors ?? 0, baseline: baseline.distinctErrors ?? 0 };
}

/** `strata`: the window, or the parts of it that are compared within: evidence of each is evidence of all. */
export function errorLogs(strata: readonly Arms[], phi: number, config: CanaryConfig): number[] {
  const cap = Math.max(config.capErr, strata.reduce((n, { canary }) => n + canary.n, 0) / config.capErrDiv);
  const { rho0, delta } = config;
  const counts = strata.map((arms) => ({ ...arms, counted: countErrors(arms, config) }));
  return config.kappas.map((kappa) => {
    const log = counts.reduce(
      (sum, { canary, baseline, counted }) =>
        sum +
        logEError(counted.canary, canary.n, counted.baseline, baseline.n, rho0, delta, rho0 * kappa) / phi,
      0,
    );
    return Math.min(cap, log);
  });
}
