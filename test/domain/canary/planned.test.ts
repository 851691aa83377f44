import { expect, it } from "vitest";
import {
  type CanaryState,
  type CanaryWindow,
  canaryConfig,
  decide,
  init,
  describe as inWords,
  type KeptWindow,
  keepWindow,
  parse,
  replay,
  serialise,
  update,
} from "../../../src/domain/canary/index.ts";
import { HISTOGRAM_BUCKETS } from "../../../src/domain/routing/meter.ts";

/** An hour at a fifth of a request a second, a tenth of them the canary's. */
const PLANNED = 360;
const QUIET = Array.from({ length: 180 }, () => ({ n: 2, errors: 0, distinctErrors: 0 }));

function at(ms: number, count: number): number[] {
  const hist = new Array<number>(HISTOGRAM_BUCKETS).fill(0);
  hist[Math.floor(8 * Math.log2(ms))] = count;
  return hist;
}
const side = (n: number, errors = 0, ms = 80) => ({
  n,
  errors,
  distinctErrors: errors,
  hist: at(ms, n - errors),
});
const begin = (config = {}): CanaryState =>
  init(at(80, 10_000), { ...canaryConfig({ plannedWindows: PLANNED }), ...config }, QUIET);

/** The canary has a request in every fifth window, a fourth of which fail. */
const failing = (k: number): CanaryWindow => ({
  canary: side(k % 5 === 0 ? 1 : 0, k % 20 === 15 ? 1 : 0),
  baseline: side(2, k === 3 ? 1 : 0),
});

const fed = (from: CanaryState, windows: readonly CanaryWindow[]): CanaryState =>
  windows.reduce(update, from);

function untilRollback(from: CanaryState, windowAt: (k: number) => CanaryWindow) {
  const kept: KeptWindow[] = [];
  let state = from;
  while (kept.length < PLANNED && decide(state).verdict !== "rollback") {
    const window = windowAt(kept.length);
    kept.push(keepWindow(window, state));
    state = update(state, window);
  }
  return { kept, state, decision: decide(state) };
}

it("spends no more than its part of alpha by the time that has passed: every course of ten errors, by its chance", () => {
  // Each window brings one error, which falls to the canary with its share of the requests and the margin.
  const chance = (1.25 * 2) / (1.25 * 2 + 18);
  const config = { delta: 0, plannedWindows: 10, plannedShare: 0.4 };
  let crossed = 0;
  const follow = (state: CanaryState, probability: number): void => {
    const { errors } = state.planned ?? {};
    expect(errors?.spent).toBeLessThanOrEqual(0.5 * 0.4 * 0.01 * (state.k / 10));
    if (errors?.hasCrossed) crossed += probability;
    else if (state.k < 10) {
      follow(update(state, { canary: side(2, 1), baseline: side(18) }), probability * chance);
      follow(update(state, { canary: side(2), baseline: side(18, 1) }), probability * (1 - chance));
    } else expect(errors?.spent).toBeCloseTo(spentInAll, 12);
  };
  const spentInAll = lastSpent(begin(config));
  follow(begin(config), 1);
  expect(crossed).toBeCloseTo(spentInAll, 12);
  expect(crossed).toBeGreaterThan(0.0005);
  expect(crossed).toBeLessThanOrEqual(0.002);
});

/** What is spent doesn't depend on how it comes out: that of the course without an error of the canary's. */
function lastSpent(from: CanaryState): number {
  let state = from;
  for (let k = 0; k < 10; k++) state = update(state, { canary: side(2), baseline: side(18, 1) });
  return state.planned?.errors.spent ?? Number.NaN;
}

it("finds what the mixture alone has no proof of yet, and says so of the whole", () => {
  const { decision } = untilRollback(begin(), failing);
  expect(decision).toMatchObject({
    verdict: "rollback",
    reason: "errors",
    planned: { crossed: "errors" },
  });
  expect(decision.logE).toBeLessThan(decision.limits.worse);
  expect(decision.suspicion.canary).toEqual(decision.rollout.canary);
  expect(inWords(decision)).toMatch(
    /^errors \d+ % against 0\.\d+ % on stable, \d+ and \d+ requests: rolled back$/,
  );
});

it("comes out the same after each window was stored, and when judged again", () => {
  const { kept, decision } = untilRollback(begin(), failing);
  let stored = begin();
  for (const [k] of kept.entries()) {
    const read = parse(serialise(stored));
    if (!read.ok) throw new Error(read.error.detail);
    stored = update(read.value, failing(k));
  }
  expect(decide(stored)).toEqual(decision);
  const again = replay(JSON.parse(JSON.stringify(kept)), canaryConfig({ plannedWindows: PLANNED }));
  expect(again).toMatchObject({ windows: kept.length, decision: { planned: decision.planned } });
});

it("finds a canary that is twice as slow where each window has two requests", () => {
  const { decision } = untilRollback(begin(), (k) => ({
    canary: side(k % 5 === 0 ? 1 : 0, 0, 160),
    baseline: side(2, 0, k % 2 === 0 ? 60 : 100),
  }));
  expect(decision).toMatchObject({ verdict: "rollback", reason: "latency", planned: { crossed: "latency" } });
  expect(inWords(decision)).toMatch(/^p\d+ \d+ ms against \d+ ms on stable, .*: rolled back$/);
});

it("takes no slow host for a slow release", () => {
  const slow = { host: "slow", canary: side(3, 0, 200), baseline: side(3, 0, 200) };
  const quick = { host: "quick", canary: side(0), baseline: side(15) };
  const hist = slow.baseline.hist.map((count, i) => count + (quick.baseline.hist[i] ?? 0));
  const whole = { canary: slow.canary, baseline: { ...side(18), hist } };
  const { decision } = untilRollback(begin(), () => ({ ...whole, hosts: [slow, quick] }));
  expect(decision.planned?.crossed).toBeNull();
  expect(untilRollback(begin(), () => whole).decision).toMatchObject({ planned: { crossed: "latency" } });
});

it("says nothing of a host that stands apart and had requests of one side alone", () => {
  const good = { host: "good", canary: side(1), baseline: side(12) };
  const bad = { host: "bad", canary: side(1), baseline: side(12, 6) };
  const alone = { host: "bad", canary: side(1, 1), baseline: side(0) };
  const of = (there: typeof bad) => {
    const { n, errors } = there.baseline;
    const own = side(2, there.canary.errors);
    return { canary: own, baseline: side(12 + n, errors), hosts: [good, there] };
  };
  let state = fed(begin(), [...new Array<CanaryWindow>(20).fill(of(bad)), of(alone), of(alone), of(alone)]);
  expect(decide(state).hosts?.apart).toMatchObject([{ host: "bad" }]);
  const { count, chances } = state.planned?.errors ?? { count: 0, chances: [] };
  expect(chances.every(Number.isFinite)).toBe(true);
  state = fed(state, [{ canary: side(2), baseline: side(20) }]);
  expect(state.planned?.errors.count).toBe(count);
  expect(parse(serialise(state)).ok).toBe(true);
});

it.each([0.1, 0.5, 0.9])(
  "keeps its chances through 5,000 errors in one window, at a share of %d",
  (share) => {
    const own = Math.round(10_000 * share);
    const outage = { canary: side(own, own / 2), baseline: side(10_000 - own, (10_000 - own) / 2) };
    const state = fed(begin(), [outage]);
    const { chances, hasCrossed, spent } = state.planned?.errors ?? { chances: [], spent: 0 };
    expect(hasCrossed).toBe(false);
    expect(chances.reduce((sum, chance) => sum + chance, spent)).toBeCloseTo(1, 6);
    expect(chances.length).toBeLessThan(1_000);
  },
);

it.each([
  ["traffic is enough", QUIET.map((window) => ({ ...window, n: 200 })), { plannedWindows: PLANNED }],
  ["nothing is known of traffic", [], { plannedWindows: PLANNED }],
  ["nobody knows how long it takes", QUIET, {}],
])("leaves all of alpha to the mixture where %s", (_why, history, limits) => {
  const decision = decide(init(at(80, 10_000), canaryConfig(limits), history));
  expect(decision.planned).toBeNull();
  expect(decision.limits.worse).toBeCloseTo(-Math.log(0.008), 9);
});
