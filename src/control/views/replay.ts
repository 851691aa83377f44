import {
  type DifferingFields,
  describe,
  type KeptWindow,
  replay,
  withoutIgnored,
} from "../../domain/canary/index.ts";
import { configOf } from "../../domain/rollout/analysis/judged.ts";
import type { EnvironmentSpec } from "../../domain/spec.ts";
import type { ReplayView } from "../../protocol/api/verdicts.ts";
import type { ReleaseRow } from "../store/status.ts";
import type { VerdictRow } from "../store/verdicts.ts";

interface Replaying {
  readonly release: Pick<ReleaseRow, "id" | "version">;
  /** Oldest first; with the fields that were named by then. */
  readonly kept: readonly { readonly counted: KeptWindow; readonly differing: DifferingFields | null }[];
  readonly last: Pick<VerdictRow, "verdict" | "words"> | undefined;
  /** The environment's, of today. */
  readonly spec: EnvironmentSpec;
  readonly other: Parameters<typeof configOf>[2];
}

/**
 * A release's kept counts, judged by today's limits. Which fields of mirrored answers differ depends on no limit: they are named as
 * they were by the window that ends it.
 */
export function replayView({ release, kept, last, spec, other }: Replaying): ReplayView {
  const counted = kept.map((one) => one.counted);
  const config = configOf(spec, "beside", other);
  const { decision, windows, provenAfter } = replay(counted, config);
  const told = kept[windows - 1]?.differing;
  const differing = told && withoutIgnored(told, config.ignore ?? []);
  const said = decision && { ...decision, ...(differing && { differing }) };
  return {
    release: release.id,
    version: release.version,
    kept: kept.length,
    windows,
    was: last ? { verdict: last.verdict, words: last.words } : null,
    now: said && {
      verdict: said.verdict,
      words: describe(said, "report", "on stable", release.version),
    },
    provenAfter,
  };
}
