import type { JobResult } from "../../src/protocol/agent/job-results.ts";
import { done, type Outcome } from "../outcome.ts";
import type { Secrets } from "./secrets.ts";

/** An outcome as it may be told and kept. Its codes and the names of things are ours; its texts may be the app's. */
export function redactOutcome(
  secrets: Secrets,
  scope: string,
  outcome: Outcome<JobResult>,
): Outcome<JobResult> {
  if (!outcome.ok) {
    const { message, logs, probe, ...facts } = outcome.error;
    const texts = secrets.hideIn(scope, { message, logs, ...(probe && { probe }) });
    return { ok: false, error: { ...facts, ...texts } };
  }
  const { logs, differs, ...facts } = outcome.value;
  return done({ ...facts, ...secrets.hideIn(scope, { ...(logs && { logs }), ...(differs && { differs }) }) });
}
