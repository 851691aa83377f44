import { describe, type KeptWindow, replay } from "../../domain/canary/index.ts";
import { configOf } from "../../domain/rollout/analysis/judged.ts";
import type { EnvironmentSpec } from "../../domain/spec.ts";
import type { ReplayView } from "../../protocol/api/verdicts.ts";
import type { ReleaseRow } from "../store/status.ts";
import type { VerdictRow } from "../store/verdicts.ts";

interface Replaying {
  readonly release: Pick<ReleaseRow, "id" | "version">;
  /** Oldest first. */
  readonly kept: readonly KeptWindow[];
  readonly last: Pick<VerdictRow, "verdict" | "words"> | undefined;
  /** The environment's, of today. */
  readonly spec: EnvironmentSpec;
  readonly other: Parameters<typeof configOf>[2];
}

/** A release's kept counts, judged by today's limits. */
export function replayView({ release, kept, last, spec, other }: Replaying): ReplayView {
  const { decision, windows, provenAfter } = replay(kept, configOf(spec, "beside", other));
  return {
    release: release.id,
    version: release.version,
    kept: kept.length,
    windows,
    was: last ? { verdict: last.verdict, words: last.words } : null,
    now: decision && { verdict: decision.verdict, words: describe(decision, "report") },
    provenAfter,
  };
}
