import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type ArmWindow,
  type CanaryState,
  type CanaryWindow,
  decide,
  init,
  parse,
  serialise,
  tick,
  update,
} from "../../../src/domain/canary/index.ts";
import { HISTOGRAM_BUCKETS } from "../../../src/domain/routing/meter.ts";

const size = fc.oneof(
  fc.constant(0),
  fc.integer({ min: 0, max: 40 }),
  fc.integer({ min: 0, max: 3000 }),
  fc.integer({ min: 0, max: 1_000_000 }),
);

const histogram = (answers: number): fc.Arbitrary<number[]> =>
  fc
    .array(fc.tuple(fc.nat(HISTOGRAM_BUCKETS - 1), fc.double({ min: 0, max: 1, noNaN: true })), {
      maxLength: 6,
    })
    .map((parts) => {
      const hist = new Array<number>(HISTOGRAM_BUCKETS).fill(0);
      // Latencies of a sample are enough here: the exact test is linear in its counts.
      for (const [bucket, share] of parts) hist[bucket] = Math.floor((Math.min(answers, 2000) * share) / 6);
      return hist;
    });

const arm = (requests: fc.Arbitrary<number> = size): fc.Arbitrary<ArmWindow> =>
  requests.chain((n) =>
    fc.nat(n).chain((errors) =>
      fc.record({
        n: fc.constant(n),
        errors: fc.constant(errors),
        distinctErrors: fc.option(fc.integer({ min: Math.min(1, errors), max: errors }), { nil: undefined }),
        hist: fc.option(histogram(n - errors), { nil: undefined }),
      }),
    ),
  );
const window: fc.Arbitrary<CanaryWindow> = fc.record({ canary: arm(), baseline: arm() });
const windows = fc.array(window, { maxLength: 12 });
const config = fc.record({
  p95MaxMs: fc.option(fc.integer({ min: 1, max: 5000 }), { nil: null }),
  perVisitor: fc.boolean(),
  warmUpWindows: fc.nat(4),
});

const fold = (state: CanaryState, list: readonly CanaryWindow[]): CanaryState => list.reduce(update, state);
const NOTHING: CanaryWindow = { canary: { n: 0, errors: 0 }, baseline: { n: 0, errors: 0 } };

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null) {
    for (const inner of Object.values(value)) deepFreeze(inner);
    Object.freeze(value);
  }
  return value;
}

function numbersIn(value: unknown): number[] {
  if (typeof value === "number") return [value];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(numbersIn) : [];
}

const check = <T>(arbitrary: fc.Arbitrary<T>, holds: (value: T) => void): void =>
  fc.assert(fc.property(arbitrary, holds), { numRuns: 150 });

describe("canary judge, whatever comes", () => {
  it("neither rolls back nor passes a canary that nobody asked", () => {
    check(fc.array(arm(), { minLength: 1, maxLength: 40 }), (stable) => {
      const state = fold(
        init(),
        stable.map((baseline) => ({ canary: NOTHING.canary, baseline })),
      );
      expect(["continue", "hold"]).toContain(decide(state).verdict);
    });
  });

  it("never rolls back for windows with nothing in them, nor for a healthy canary without a stable side", () => {
    check(fc.array(fc.integer({ min: 0, max: 500 }), { maxLength: 60 }), (requests) => {
      const state = fold(
        init(),
        requests.flatMap((n) => [NOTHING, { canary: { n, errors: 0 }, baseline: NOTHING.baseline }]),
      );
      expect(decide(state)).toMatchObject({ verdict: "continue" });
    });
  });

  it("never passes on fewer than 300 canary requests", () => {
    const few = fc.array(fc.record({ canary: arm(fc.nat(29)), baseline: arm() }), { maxLength: 10 });
    check(few, (list) => {
      expect(decide(fold(init(), list)).verdict).not.toBe("pass");
    });
  });

  it("answers with finite numbers that JSON keeps", () => {
    check(
      fc.tuple(
        config,
        windows,
        windows.filter((list) => list.length < 3),
      ),
      ([settings, list, open]) => {
        const state = fold(init(undefined, settings), list);
        for (const decision of [decide(state), tick(state, open)]) {
          expect(numbersIn(decision).every(Number.isFinite)).toBe(true);
          expect(JSON.parse(JSON.stringify(decision))).toEqual(decision);
        }
      },
    );
  });

  it("gives the same answer for the same windows and changes none of them", () => {
    check(fc.tuple(config, windows), ([settings, list]) => {
      const frozen = deepFreeze(list);
      const step = (): CanaryState =>
        frozen.reduce((s, w) => deepFreeze(update(s, w)), deepFreeze(init([], settings)));
      expect(step()).toEqual(step());
    });
  });

  it("goes on from a stored state as if it had never been stored", () => {
    check(fc.tuple(config, windows, windows), ([settings, before, after]) => {
      const state = fold(init(undefined, settings), before);
      const stored = parse(serialise(state));
      expect(stored).toEqual({ ok: true, value: state });
      if (stored.ok) expect(decide(fold(stored.value, after))).toEqual(decide(fold(state, after)));
    });
  });

  it("never thinks better of a canary for one more error, nor worse for one more of stable's", () => {
    const plain = fc.record({
      n: fc.integer({ min: 1, max: 3000 }),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    check(fc.tuple(windows, plain, plain), ([past, c, b]) => {
      const state = fold(init(), past);
      const judge = (x: number, y: number) =>
        decide(update(state, { canary: { n: c.n, errors: x }, baseline: { n: b.n, errors: y } }));
      const x = Math.floor((c.n - 1) * c.share);
      const y = Math.floor((b.n - 1) * b.share);
      const before = judge(x, y);
      expect(judge(x + 1, y).logErr).toBeGreaterThanOrEqual(before.logErr - 1e-9);
      expect(judge(x + 1, y).logGuard).toBeGreaterThanOrEqual(before.logGuard - 1e-9);
      expect(judge(x, y + 1).logErr).toBeLessThanOrEqual(before.logErr + 1e-9);
    });
  });

  it("keeps a fast tick's rollback when errors that were still on their way arrive", () => {
    check(fc.tuple(windows, window, fc.integer({ min: 1, max: 50 })), ([past, open, late]) => {
      const state = fold(init(), past);
      const { canary, baseline } = open;
      const later = {
        canary: {
          ...canary,
          n: canary.n + late,
          errors: canary.errors + late,
          distinctErrors: canary.distinctErrors === undefined ? undefined : canary.distinctErrors + late,
        },
        baseline,
      };
      if (tick(state, [open])) expect(tick(state, [later])).not.toBeNull();
    });
  });

  it("rolls back on a fast tick only what the whole window would, as long as the caps hold", () => {
    const uncounted = fc.record({ canary: arm(fc.nat(400)), baseline: arm(fc.nat(4000)) });
    check(fc.tuple(windows, uncounted), ([past, open]) => {
      const state = fold(init(undefined, { perVisitor: false }), past);
      // A rollback is the judge's last word: nobody ticks after it.
      fc.pre(decide(state).verdict !== "rollback");
      if (tick(state, [open])) expect(decide(update(state, open)).verdict).toBe("rollback");
    });
  });
});
