import { awaited } from "../../domain/approval/gate.ts";
import { type Move, planMove } from "../../domain/commands/moves.ts";
import type { EnvironmentFacts } from "../../domain/rollout/facts.ts";
import { isActive } from "../../domain/rollout/release.ts";
import { begunStep } from "../../domain/rollout/steps.ts";
import type { EnvironmentSpec } from "../../domain/spec.ts";
import type { MovePlanView, PriceView } from "../../protocol/api/plans.ts";
import type { AppContext } from "../http/context.ts";
import { ProblemError } from "../http/problems.ts";
import { logFailure } from "../log.ts";
import { usualTraffic } from "../meter/forecast.ts";
import { partOf, readTotals } from "../meter/meter-parts.ts";
import { metersOf } from "../objects.ts";
import { loadEnvironment } from "../store/environments.ts";
import { priceView } from "../views/price.ts";

/** What a move would do now, as the API's resource. */
export async function movePlanView(c: AppContext, environmentId: string, move: Move): Promise<MovePlanView> {
  const [facts, now] = [await requireFacts(c, environmentId), c.var.now()];
  const { refusal, says, weights: split } = planMove(facts, move, now);
  return {
    move,
    possible: refusal === null,
    refusal: refusal && { code: refusal.code, detail: refusal.detail },
    says: [...says],
    split: split.map(({ weightBp, ...release }) => ({ ...release, weight: weightBp / 100 })),
    price: move === "promote" && !refusal ? await priceOfNext(c, facts, now) : null,
  };
}

/** What a bad release would cost yet, if a person let the one that waits go on. */
export async function priceOfGoingOn(c: AppContext, environmentId: string): Promise<PriceView | null> {
  return priceOfNext(c, await requireFacts(c, environmentId), c.var.now());
}

async function requireFacts(c: AppContext, environmentId: string): Promise<EnvironmentFacts> {
  const loaded = await loadEnvironment(c.var.db, environmentId);
  if (!loaded) throw new ProblemError({ code: "not_found", detail: "the environment was just deleted" });
  return loaded.facts;
}

/** Of the steps behind the last one that has begun. */
async function priceOfNext(c: AppContext, facts: EnvironmentFacts, now: number): Promise<PriceView | null> {
  const release = facts.releases.find((one) => isActive(one.state) || awaited(one));
  if (!release || facts.stableReleaseId === null) return null;
  return priceFor(c, facts, { spec: release.spec, from: begunStep(release) + 1 }, now);
}

/** What is not known, as where a meter doesn't answer, is left out. `from`: the first step that is still to come, from 0. */
export async function priceFor(
  c: AppContext,
  { id, releases }: Pick<EnvironmentFacts, "id" | "releases">,
  { spec, from }: { readonly spec: EnvironmentSpec; readonly from: number },
  now: number,
): Promise<PriceView | null> {
  try {
    const meters = metersOf(c.env);
    const { releases: totals } = await readTotals(meters, id, now);
    const traffic = usualTraffic(totals, releases, now);
    if (!traffic) return null;
    return priceView(spec, traffic, await meters.getByName(partOf(id, "")).price(spec, traffic, from));
  } catch (error) {
    logFailure("plan.price", error, { environment: id });
    return null;
  }
}
