import { err, ok, type Result } from "../result.ts";
import type { ReleaseFacts } from "../rollout/release.ts";
import { inWords } from "../state-words.ts";
import type { Refusal } from "./refusal.ts";

/** Where a promoted release comes from, for the audit log. */
export interface Origin {
  readonly environment: string;
  readonly release: string;
  readonly version: string;
}

export interface PromotionSource {
  readonly environment: string;
  readonly replicas: number;
  /** What last had all traffic there. */
  readonly live: Pick<ReleaseFacts, "id" | "version" | "state" | "weightBp" | "pinnedImage"> | undefined;
  /** Of its instances. */
  readonly ready: number;
}

/** The very image that serves in another environment. `seen`: id or label of the release that was looked at. */
export function promotedImage(
  source: PromotionSource,
  seen: string,
): Result<{ image: string; origin: Origin }, Refusal> {
  const { environment, live, ready, replicas } = source;
  if (!live || live.pinnedImage === null)
    return err({
      code: "release_not_serving",
      detail: `nothing serves in ${environment}: there is nothing to promote`,
    });
  if (seen !== live.id && seen !== live.version)
    return err({
      code: "precondition_failed",
      detail: `${environment} serves ${live.version} (${live.id}), not ${seen}: look at it first`,
    });
  const isWhole = (live.state === "live" || live.state === "settling") && live.weightBp === 10_000;
  if (!isWhole)
    return err({
      code: "release_not_serving",
      detail: `${live.version} has ${live.weightBp / 100} % of ${environment} (${inWords(live.state)}): another release has the rest, or is on its way`,
    });
  if (ready === 0 || ready * 2 < replicas)
    return err({
      code: "release_not_serving",
      detail: `${live.version} has ${ready} ready of ${replicas} wanted in ${environment}: it is not well there`,
    });
  return ok({ image: live.pinnedImage, origin: { environment, release: live.id, version: live.version } });
}
