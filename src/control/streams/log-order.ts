import type { LogChunkAnswer, logChunkSchema } from "../../protocol/agent/logs.ts";
import type { LogScope } from "../store/log-streams.ts";
import { MERGE_TIMES, type MergeTimes } from "./log-merge.ts";

/** What a reader of logs wants. Goes to its relay as JSON. */
export interface LogOrder {
  readonly stream: string;
  /** Id of the token that it was asked with; null: by control itself. */
  readonly token: string | null;
  readonly app: string;
  readonly environment: string;
  readonly scope: LogScope;
  readonly follow: boolean;
  readonly from: number;
  readonly since: number | null;
  readonly tail: number | null;
  /** The id of a request that lines are to be about; an agent of before sends all. Absent: all are wanted. */
  readonly request?: string;
  readonly after: readonly (readonly [instance: string, cursor: string])[];
  readonly times: LogTimes;
}

export interface LogTimes extends MergeTimes {
  /** An asked host answers in milliseconds; one that doesn't for so long is said to be silent. */
  readonly answerMs: number;
  /** An agent says something at least each 15 s. */
  readonly silentMs: number;
  /** Between two looks for hosts that got instances meanwhile. */
  readonly lookMs: number;
  readonly heartbeatMs: number;
  /** A viewing's longest time. Its reader comes back and goes on. */
  readonly lastsMs: number;
  /** An agent waits so long for room before it is told to come again. */
  readonly roomMs: number;
}
export const LOG_TIMES: LogTimes = {
  ...MERGE_TIMES,
  answerMs: 5_000,
  silentMs: 45_000,
  lookMs: 10_000,
  heartbeatMs: 10_000,
  lastsMs: 3_600_000,
  roomMs: 5_000,
};

/** What a relay does for the rest of control. Its `fetch` takes an order and answers the lines. */
export interface LogRelayPort {
  /** Lines of a host. `foreign`: this stream asked it for none. */
  push(hostId: string, chunk: ReturnType<typeof logChunkSchema.parse>): Promise<LogChunkAnswer | "foreign">;
}
