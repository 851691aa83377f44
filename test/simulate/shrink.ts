import type { FaultKind } from "./faults.ts";
import { type Ran, run } from "./run.ts";
import type { Scenario } from "./scenario.ts";

export interface Shrunk {
  readonly scenario: Scenario;
  /** Places in the seed's list of acts of those that are left. */
  readonly kept: readonly number[];
  /** Left calm: nothing is lost, late or doubled on the network. */
  readonly isCalm: boolean;
}

/** The scenario with only some of its acts, and on a calm network if so asked. */
export function partOf(scenario: Scenario, kept: readonly number[], isCalm: boolean): Scenario {
  const acts = kept.map((place) => scenario.acts[place]).filter((act) => act !== undefined);
  return { ...scenario, acts, network: isCalm ? CALM : scenario.network };
}

const CALM = { lost: 0, twice: 0, slowMs: 20 };

/** Leaves out acts, one after the other, while the same invariant fails: what stays is needed for it. */
export async function shrink(scenario: Scenario, kind: FaultKind): Promise<Shrunk> {
  const fails = (part: Scenario) => run(part).then((ran) => has(ran, kind));
  let kept = scenario.acts.map((_, place) => place);
  const isCalm = await fails(partOf(scenario, kept, true));
  for (let isSmaller = true; isSmaller; ) {
    isSmaller = false;
    for (const place of kept.toReversed()) {
      const fewer = kept.filter((other) => other !== place);
      if (!(await fails(partOf(scenario, fewer, isCalm)))) continue;
      kept = fewer;
      isSmaller = true;
    }
  }
  return { scenario: partOf(scenario, kept, isCalm), kept, isCalm };
}

const has = ({ faults }: Ran, kind: FaultKind): boolean => faults.some((fault) => fault.kind === kind);

/** The command that plays it again. */
export const replayOf = (seed: number, { kept, isCalm }: Pick<Shrunk, "kept" | "isCalm">): string =>
  `npm run simulate -- --seed ${seed} --only ${kept.join(",")}${isCalm ? " --calm" : ""}`;
