import { decide, init, type Judgement, update } from "../../../src/domain/canary/index.ts";

/** Windows of 10 s: what the canary and stable counted in each, `times` over. */
function judged(
  times: number,
  canary: readonly [number, number],
  baseline: readonly [number, number],
): Judgement {
  let state = init();
  for (let k = 0; k < times; k++) {
    state = update(state, {
      canary: { n: canary[0], errors: canary[1] },
      baseline: { n: baseline[0], errors: baseline[1] },
    });
  }
  return decide(state);
}

/** What the real judge says: of a bad canary, a good one, one with little traffic or none, and during a shared outage. */
export const JUDGEMENTS = {
  rollback: judged(3, [100, 30], [900, 1]),
  pass: judged(20, [200, 0], [1_800, 2]),
  continue: judged(2, [10, 0], [90, 0]),
  nothing: judged(2, [0, 0], [100, 0]),
  hold: judged(20, [100, 50], [900, 450]),
} as const satisfies Record<string, Judgement>;
export type JudgementName = keyof typeof JUDGEMENTS;
