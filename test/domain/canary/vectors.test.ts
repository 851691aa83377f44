import { describe, expect, it } from "vitest";
import {
  type CanaryConfig,
  decide,
  init,
  logEError,
  logEGuard,
  logEOdds,
  logEPass,
  quantileBucket,
  update,
} from "../../../src/domain/canary/index.ts";
import { HISTOGRAM_BUCKETS } from "../../../src/domain/routing/meter.ts";
import vectors from "../../vectors/canary-vectors.json" with { type: "json" };

/** Computed by two independent implementations; to 1e-6, absolute or relative. */
function expectClose(got: number, want: number, what: string): void {
  expect(Math.abs(got - want), `${what}: ${got}, not ${want}`).toBeLessThanOrEqual(
    1e-6 * Math.max(1, Math.abs(want)),
  );
}

type Sparse = readonly (readonly number[])[];

function dense(sparse: Sparse | null | undefined): number[] | undefined {
  if (!sparse) return undefined;
  const hist = new Array<number>(HISTOGRAM_BUCKETS).fill(0);
  for (const [bucket = 0, count = 0] of sparse) hist[bucket] = count;
  return hist;
}

describe("canary test vectors", () => {
  const formulas = { logEError, logEGuard, logEOdds, logEPass };
  for (const [name, formula] of Object.entries(formulas)) {
    it(`agrees on every ${name}`, () => {
      const cases: { args: number[]; out: number }[] = vectors[name as keyof typeof formulas]; // keys of `formulas`
      expect(cases.length).toBeGreaterThan(0);
      for (const { args, out } of cases) {
        expectClose((formula as (...a: number[]) => number)(...args), out, `${name}(${args})`);
      }
    });
  }

  it("agrees on every quantile, exact ties included", () => {
    for (const { hist, q, out } of vectors.quantileBucket) {
      expect(quantileBucket(dense(hist) ?? [], q)).toBe(out);
    }
  });

  interface Step {
    window: { c: number[]; ch?: Sparse; b: number[]; bh?: Sparse };
    verdict: string;
    reason: string;
    [log: string]: unknown;
  }
  interface Sequence {
    name: string;
    cfg: Partial<CanaryConfig>;
    reference: Sparse | null;
    history: { n: number; errors: number }[];
    steps: Step[];
  }

  for (const sequence of vectors.sequences as unknown as Sequence[]) {
    it(`agrees on every window of "${sequence.name}"`, () => {
      let state = init(dense(sequence.reference), sequence.cfg, sequence.history);
      for (const [i, step] of sequence.steps.entries()) {
        const { c, ch, b, bh } = step.window;
        state = update(state, {
          canary: { n: c[0] ?? 0, errors: c[1] ?? 0, hist: dense(ch) },
          baseline: { n: b[0] ?? 0, errors: b[1] ?? 0, hist: dense(bh) },
        });
        const decision = decide(state);
        for (const key of ["logE", "logErr", "logLat", "logGuard", "logPass", "phi", "pValue"] as const) {
          expectClose(decision[key], Number(step[key]), `window ${i}, ${key}`);
        }
        expect(decision).toMatchObject({ verdict: step.verdict, reason: step.reason });
      }
    });
  }
});
