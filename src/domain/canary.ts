/**
 * The canary's judge, pure: fold each window in with `update`, ask `decide` after it, `tick` in between, and `endStep`
 * when a step's time is up. How it judges and what it can't see: docs/canary.md.
 */
export { type CanaryConfig, canaryConfig } from "./canary/config.ts";
export { type Decision, decide, tick } from "./canary/decide.ts";
export { logEError, logEGuard, logEOdds, logEPass, quantileBucket } from "./canary/evidence.ts";
export { endStep, type StepPolicy } from "./canary/policy.ts";
export { type CanaryState, type HistoryWindow, init, parse, renew, serialise } from "./canary/state.ts";
export { update } from "./canary/update.ts";
export { type ArmWindow, type CanaryWindow, windowFrom } from "./canary/window.ts";
export { describe } from "./canary/words.ts";
