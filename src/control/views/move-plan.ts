import { type Move, planMove } from "../../domain/commands/moves.ts";
import type { MovePlanView } from "../../protocol/api/plans.ts";
import { ProblemError } from "../http/problems.ts";
import type { Db } from "../store/db.ts";
import { loadEnvironment } from "../store/environments.ts";

/** What a move would do now, as the API's resource. */
export async function movePlanView(
  db: Db,
  environmentId: string,
  move: Move,
  now: number,
): Promise<MovePlanView> {
  const loaded = await loadEnvironment(db, environmentId);
  if (!loaded) throw new ProblemError({ code: "not_found", detail: "the environment was just deleted" });
  const { refusal, says, weights: split } = planMove(loaded.facts, move, now);
  return {
    move,
    possible: refusal === null,
    refusal: refusal && { code: refusal.code, detail: refusal.detail },
    says: [...says],
    split: split.map(({ weightBp, ...release }) => ({ ...release, weight: weightBp / 100 })),
  };
}
