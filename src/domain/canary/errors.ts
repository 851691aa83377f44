import type { CanaryConfig } from "./config.ts";
import { logEError } from "./evidence.ts";
import type { CanaryWindow } from "./window.ts";

type Arms = Pick<CanaryWindow, "canary" | "baseline">;

/** Whether both sides can tell visitors apart; else all errors count on both. */
export const isPerVisitor = ({ canary, baseline }: Arms, config: CanaryConfig): boolean =>
  config.perVisitor && canary.distinctErrors !== undefined && baseline.distinctErrors !== undefined;

/** Retries of one unlucky visitor are one error. */
export function countErrors(window: Arms, config: CanaryConfig): { canary: number; baseline: number } {
  const { canary, baseline } = window;
  if (!isPerVisitor(window, config)) return { canary: canary.errors, baseline: baseline.errors };
  return { canary: canary.distinctErrors ?? 0, baseline: baseline.distinctErrors ?? 0 };
}

export function errorLogs(
  { canary, baseline }: Arms,
  counted: { canary: number; baseline: number },
  phi: number,
  config: CanaryConfig,
): number[] {
  const cap = Math.max(config.capErr, canary.n / config.capErrDiv);
  const { rho0, delta } = config;
  return config.kappas.map((kappa) =>
    Math.min(
      cap,
      logEError(counted.canary, canary.n, counted.baseline, baseline.n, rho0, delta, rho0 * kappa) / phi,
    ),
  );
}
