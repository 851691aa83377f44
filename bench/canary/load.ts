/**
 * A thin canary that control visits beside its visitors, as the manifest's `load` asks: dealt by the domain's own dealer, judged
 * together with visitors. What is known of stable from before is its visitors' alone.
 */
import type { ArmWindow, CanaryWindow } from "../../src/domain/canary/index.ts";
import { dealVisits, type Pace } from "../../src/domain/rollout/load.ts";
import { FULL_WEIGHT } from "../../src/domain/routing/table.ts";
import type { LoadSpec } from "../../src/domain/spec.ts";
import { World } from "./simulation.ts";

const LOAD: LoadSpec = { paths: ["/", "/cart"], ratePerS: 2, judge: true };
/** Control's turns, two seconds apart. */
const TURNS = [2, 4, 6, 8, 10];

export class VisitedWorld extends World {
  #pace: Pace | null = null;

  override window(start: number): CanaryWindow {
    const { canary, baseline } = super.window(start);
    const visits = this.#dealt(start);
    const canarys = visits.filter(({ side }) => side === "canary").length;
    return {
      canary: this.#with(canary, "canary", canarys, start),
      baseline: this.#with(baseline, "baseline", visits.length - canarys, start),
    };
  }

  #dealt(start: number) {
    const { weight = 0.1, rate } = this.scenario;
    return TURNS.flatMap((s) => {
      const moment = { weightBp: weight * FULL_WEIGHT, visitorsPerS: rate, now: 1_000 * (start + s) };
      const { pace, visits } = dealVisits(this.#pace, { load: LOAD, ...moment });
      this.#pace = pace;
      return visits;
    });
  }

  /** Each visit is another visitor's. */
  #with(arm: ArmWindow, side: "canary" | "baseline", visits: number, start: number): ArmWindow {
    const failing = this.errorRate(side, start);
    let errors = 0;
    for (let n = 0; n < visits; n++) errors += Number(this.chance.uniform() < failing);
    const hist = this.answers(visits - errors, this.latency(side, start));
    return {
      n: arm.n + visits,
      errors: arm.errors + errors,
      distinctErrors: (arm.distinctErrors ?? arm.errors) + errors,
      hist: hist.map((count, bucket) => count + (arm.hist?.[bucket] ?? 0)),
    };
  }
}
