/** The events with which something of a release is over, so that it can be told as a trace. Pure. */

const OUTCOME_STATES = ["live", "failed", "aborted", "superseded", "rolled_back"] as const;
export type OutcomeState = (typeof OUTCOME_STATES)[number];

interface Ending {
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/**
 * How a release came out with this event; undefined: nothing was over by it. What served and gives way to the next, or is
 * put back by a rollback, has had its end. A contract hook ends long after its release was live.
 */
export function endOf({ type, data }: Ending): OutcomeState | undefined {
  if (type === "release.progress") return data.contracted === true ? "live" : undefined;
  if (type !== "release.state" || data.from === "superseded") return undefined;
  if (data.from === "live" && data.state === "superseded") return undefined;
  return OUTCOME_STATES.find((state) => state === data.state);
}
