/**
 * The canary's judge, pure: fold each window in with `update`, ask `decide` after it, `tick` in between, and `endStep`
 * when a step's time is up. How it judges and what it can't see: docs/canary.md.
 */
export { type AnalysisLimits, type CanaryConfig, canaryConfig, watchConfig } from "./config.ts";
export { decide, type Judgement, tick } from "./decide.ts";
export { type DifferingFields, withoutIgnored } from "./differing.ts";
export { logEError, logEGuard, logEOdds, logEPass, quantileBucket } from "./evidence.ts";
export { endStep, type StepAction, type StepPolicy } from "./policy.ts";
export { type KeptWindow, keepWindow, replay } from "./replay.ts";
export { type CanaryState, type HistoryWindow, init, parse, renew, serialise } from "./state.ts";
export { update } from "./update.ts";
export type {
  ArmWindow,
  CanaryWindow,
  FailedRequest,
  HostWindow,
  RouteWindow,
} from "./window.ts";
export { describe, howToIgnore } from "./words.ts";
