import { describe, expect, it } from "vitest";
import {
  type CanaryWindow,
  canaryConfig,
  decide,
  endStep,
  init,
  describe as inWords,
  type KeptWindow,
  keepWindow,
  parse,
  renew,
  replay,
  type StepPolicy,
  serialise,
  tick,
  update,
} from "../../../src/domain/canary/index.ts";
import { LATE_MS, latencyBucket } from "../../../src/domain/routing/meter.ts";
import { at, fed, fresh, GOOD, untilRollback, windowOf } from "./windows.ts";

describe("an outage that both sides share, where stable has few requests", () => {
  it("is not taken for the canary's own when no request of stable's falls into a window, or a good one", () => {
    let state = fed(3, windowOf({ n: 1, errors: 1 }, { n: 5, errors: 4 }), fresh());
    for (let k = 0; k < 12; k++) {
      const [n, errors] = [
        [0, 0],
        [1, 0],
        [5, 4],
      ][k % 3] as [number, number];
      state = update(state, windowOf({ n: 1, errors: 1 }, { n, errors }));
      expect(decide(state).verdict).not.toBe("rollback");
    }
  });

  it("is not taken for its slowness either: the limit on p95 waits for stable", () => {
    const slow = { ms: 900 };
    let state = fed(3, windowOf({ n: 1, ...slow }, { n: 5, ...slow }), fresh({ p95MaxMs: 300 }));
    for (let k = 0; k < 24; k++) {
      state = update(state, windowOf({ n: 1, ...slow }, { n: k % 2 === 0 ? 0 : 5, ...slow }));
      expect(decide(state).verdict).not.toBe("rollback");
    }
  });
});

describe("a rollback for one route, judged again from the counts that were kept", () => {
  it("comes to the same verdict after as many windows, and names the route", () => {
    const on = (n: number, errors: number) => ({ n, errors, distinctErrors: errors });
    // 22 of 1,000 against 165 of 9,000: within the margin as a whole.
    const window: CanaryWindow = {
      ...windowOf({ n: 1_000, errors: 22, visitors: 22 }, { n: 9_000, errors: 165, visitors: 165 }),
      routes: [
        { route: "POST /checkout", canary: on(20, 5), baseline: on(180, 4), hosts: [] },
        { route: "GET /", canary: on(980, 17), baseline: on(8_820, 161), hosts: [] },
      ],
    };
    const kept: KeptWindow[] = [];
    let state = init(at(80, 10_000), canaryConfig({}));
    do {
      kept.push(keepWindow(window, state));
      state = update(state, window);
    } while (decide(state).verdict !== "rollback" && kept.length < 60);
    const again = replay(JSON.parse(JSON.stringify(kept)), canaryConfig({}));
    expect(again.decision).toMatchObject({ verdict: "rollback", reason: "route" });
    expect(again.decision).toEqual(decide(state));
    expect(again.windows).toBe(kept.length);
    expect(inWords(decide(state))).toContain("POST /checkout");
  });
});

describe("user limits", () => {
  it("rolls back over errorRateMax what the default ceiling lets live, when stable is nearly as bad", () => {
    const window = windowOf({ n: 500, errors: 20 }, { n: 4500, errors: 40 });
    const tolerant = { rho0: 10 };
    const { decision } = untilRollback(
      window,
      fresh({ ...tolerant, ...canaryConfig({ errorRateMax: 0.01 }) }),
    );
    expect(decision.reason).toBe("error-ceiling");
    expect(inWords(decision)).toContain("over the limit of 1 %");
    expect(decide(fed(60, window, fresh(tolerant))).verdict).not.toBe("rollback");
  });

  it("rests errorRateMax while stable is over it too", () => {
    const window = windowOf({ n: 500, errors: 15 }, { n: 4500, errors: 135 });
    const state = fed(60, window, fresh(canaryConfig({ errorRateMax: 0.01 })));
    expect(decide(state).verdict).not.toBe("rollback");
  });

  it("keeps the default ceiling's own alternatives at 10 %", () => {
    expect(canaryConfig({ errorRateMax: 0.1 })).toMatchObject({
      guardThetas: [0.25, 0.6, 0.95],
      guardSkipMax: 0.05,
    });
  });

  it("rolls back a canary whose p95 is over p95Max though no slower than its margin", () => {
    const window = windowOf({ n: 200, ms: 560 }, { n: 1800, ms: 490 });
    const config = canaryConfig({ p95MaxMs: 500 });
    const { decision } = untilRollback(window, init(at(490, 10_000), config));
    expect(decision.reason).toBe("latency-ceiling");
    expect(inWords(decision)).toMatch(
      /^p95 5\d\d ms against 4\d\d ms on stable, .* over the limit of 500 ms: rolled back$/,
    );
    expect(decide(fed(30, window, init(at(490, 10_000)))).verdict).not.toBe("rollback");
  });

  it("rests p95Max while stable is over it too, and at 5 % slow answers exactly", () => {
    const config = canaryConfig({ p95MaxMs: 500 });
    const bothSlow = windowOf({ n: 200, ms: 700 }, { n: 1800, ms: 700 });
    expect(decide(fed(30, bothSlow, init(at(700, 10_000), config))).verdict).not.toBe("rollback");
    const tailed = (fast: number, slow: number) => at(80, fast).map((n, i) => n + (at(700, slow)[i] ?? 0));
    const onLimit = {
      canary: { n: 200, errors: 0, hist: tailed(190, 10) },
      baseline: { n: 1800, errors: 0, hist: tailed(1728, 72) },
    };
    expect(decide(fed(60, onLimit, fresh(config))).verdict).not.toBe("rollback");
  });

  it("does not take four slow answers for a slow canary, even without a stable side", () => {
    const one = windowOf({ n: 1, ms: 700 }, { n: 0 });
    const config = canaryConfig({ p95MaxMs: 500 });
    expect(decide(fed(4, one, fresh(config))).verdict).toBe("continue");
    expect(untilRollback(one, fresh(config))).toMatchObject({
      windows: 5,
      decision: { reason: "latency-ceiling" },
    });
  });

  it("bets only on rates above the ceiling, wherever it lies", () => {
    expect(canaryConfig({ errorRateMax: 0.3 }).guardThetas).toEqual([0.6, 0.75, 0.95]);
    expect(canaryConfig({ errorRateMax: 0.97 }).guardThetas).toEqual([0.985]);
  });

  it("shares the guard's chance of error between two limits", () => {
    expect(decide(fresh()).limits.guard).toBeCloseTo(Math.log(1000), 9);
    expect(decide(fresh(canaryConfig({ p95MaxMs: 500 }))).limits.guard).toBeCloseTo(Math.log(2000), 9);
  });

  it("refuses limits that no canary can be judged by", () => {
    expect(() => canaryConfig({ errorRateMax: 0 })).toThrow(/between 0 and 1, got 0/);
    expect(() => canaryConfig({ p95MaxMs: -1 })).toThrow(/positive time, got -1 ms/);
  });

  it("spreads its watch over a rollout longer than an hour", () => {
    expect(canaryConfig({ plannedWindows: 1000 }).horizonWindows).toBe(1000);
    expect(canaryConfig({ plannedWindows: 10 }).horizonWindows).toBe(360);
  });
});

describe("cold canary", () => {
  const slow = windowOf({ n: 200, ms: 400 }, { n: 1800 });

  it("is not judged by latency while it warms up, and is from then on", () => {
    const warm = fresh({ warmUpWindows: 6, p95MaxMs: 300 });
    const before = fed(6, slow, warm);
    expect(decide(before).verdict).not.toBe("rollback");
    expect(untilRollback(slow, before).windows).toBeLessThanOrEqual(3);
  });

  it("warms up from its first request, not from the rollout's first window", () => {
    const waiting = fed(20, windowOf({ n: 0 }, { n: 2000 }), fresh({ warmUpWindows: 6 }));
    expect(decide(fed(6, slow, waiting)).verdict).not.toBe("rollback");
  });

  it("is judged by errors from its first request", () => {
    const dead = windowOf({ n: 200, errors: 200 }, { n: 1800 });
    expect(untilRollback(dead, fresh({ warmUpWindows: 60 })).windows).toBe(1);
  });
});

describe("errors counted per visitor", () => {
  const retries = windowOf({ n: 40, errors: 12, visitors: 1 }, { n: 360, errors: 1, visitors: 1 });

  it("takes one visitor's retries for one error", () => {
    expect(decide(fed(2, retries)).verdict).not.toBe("rollback");
    expect(decide(fed(2, retries, fresh({ perVisitor: false }))).verdict).toBe("rollback");
  });

  it("counts every error when one side can't tell its visitors apart", () => {
    const { canary, baseline } = retries;
    const half = { canary, baseline: { ...baseline, distinctErrors: undefined } };
    expect(decide(fed(2, half)).verdict).toBe("rollback");
  });

  it("still sees a dead canary as wholly dead", () => {
    const dead = windowOf({ n: 200, errors: 200, visitors: 40 }, { n: 1800, errors: 2, visitors: 2 });
    expect(untilRollback(dead, fresh()).windows).toBe(1);
  });
});

describe("fast tick", () => {
  const dead = windowOf({ n: 20, errors: 20, visitors: 20 }, { n: 180, errors: 0, visitors: 0 });

  it("rolls back a dead canary within the first second of 20 failing visitors, with the numbers", () => {
    const decision = tick(fresh(), [dead]);
    expect(decision).toMatchObject({ verdict: "rollback", reason: "error-ceiling" });
    expect(decision && inWords(decision)).toBe(
      "errors 100 % against 0 % on stable, 20 and 180 requests, over the limit of 10 %: rolled back",
    );
  });

  it("explains itself by the failing seconds, not by the good hours before", () => {
    const decision = tick(fed(180, GOOD), [dead]);
    expect(decision && inWords(decision)).toMatch(/^errors 100 % against 0 % on stable, 20 and 180 requests/);
  });

  it("says nothing about a healthy, slow or slightly failing canary", () => {
    const state = fed(3, GOOD);
    for (const open of [
      GOOD,
      windowOf({ n: 20, ms: 900 }, { n: 180 }),
      windowOf({ n: 20, errors: 2 }, { n: 180 }),
    ]) {
      expect(tick(state, [open])).toBeNull();
    }
  });

  it("spends nothing: any number of ticks leaves the window's verdict as it was", () => {
    const state = fed(3, GOOD);
    const open = windowOf({ n: 200, errors: 30 }, { n: 1800, errors: 3 });
    const untouched = decide(update(state, open));
    for (let second = 1; second < 10; second++)
      tick(state, [windowOf({ n: 20 * second, errors: 3 * second }, { n: 180 * second })]);
    expect(decide(update(state, open))).toEqual(untouched);
  });

  it("reads a closed window that is still waiting for late counts before the open one", () => {
    const few = windowOf({ n: 4, errors: 4, visitors: 4 }, { n: 36, visitors: 0 });
    expect(tick(fresh(), [few])).toBeNull();
    expect(tick(fresh(), [few, few])).toMatchObject({ reason: "error-ceiling" });
  });

  it("waits while stable is failing too, or its counts have not come in yet", () => {
    const shared = windowOf({ n: 20, errors: 20, visitors: 20 }, { n: 180, errors: 180, visitors: 180 });
    const alone = windowOf({ n: 20, errors: 20, visitors: 20 }, { n: 0, visitors: 0 });
    const state = fed(3, GOOD);
    expect(tick(state, [shared])).toBeNull();
    expect(tick(state, [alone])).toBeNull();
  });

  it("is not hurried by one visitor's retries", () => {
    const oneVisitor = windowOf({ n: 20, errors: 20, visitors: 1 }, { n: 180, visitors: 0 });
    expect(tick(fresh(), [oneVisitor])).toBeNull();
  });
});

describe("end of a step", () => {
  const policy = (
    onInconclusive: StepPolicy["onInconclusive"],
    rest: Partial<StepPolicy> = {},
  ): StepPolicy => ({
    onInconclusive,
    onFailure: "rollback",
    canWait: false,
    ...rest,
  });
  const silent = decide(fed(90, windowOf({ n: 0 }, { n: 2000, errors: 4 })));
  const quiet = decide(fed(30, windowOf({ n: 2 }, { n: 18 })));
  const leaning = decide(fed(10, windowOf({ n: 30, errors: 1, visitors: 1 }, { n: 30, visitors: 0 })));
  const outage = decide(fed(2, windowOf({ n: 200, errors: 60 }, { n: 1800, errors: 540 })));

  it.each([
    ["proof promotes", decide(fed(4, GOOD)), policy("ask"), "promote"],
    [
      "failure rolls back",
      untilRollback(windowOf({ n: 99, errors: 99 }, { n: 900 }), fresh()).decision,
      policy("promote"),
      "rollback",
    ],
    [
      "failure pauses if told",
      untilRollback(windowOf({ n: 99, errors: 99 }, { n: 900 }), fresh()).decision,
      policy("ask", { onFailure: "pause" }),
      "pause",
    ],
    ["silence asks", silent, policy("ask"), "ask"],
    ["silence is never promoted", silent, policy("promote"), "ask"],
    ["silence aborts if told", silent, policy("abort"), "abort"],
    ["thin good data asks", quiet, policy("ask"), "ask"],
    ["thin good data is promoted if told", quiet, policy("promote"), "promote"],
    ["thin bad data is not", leaning, policy("promote"), "ask"],
    ["an outage waits", outage, policy("promote", { canWait: true }), "wait"],
    ["an outage is no time to promote", outage, policy("promote"), "ask"],
    ["an outage aborts if told", outage, policy("abort"), "abort"],
  ] as const)("%s", (_, decision, rules, action) => {
    const end = endStep(decision, rules);
    expect(end.action).toBe(action);
    expect(end.because).not.toBe("");
  });

  it("says how little it knew", () => {
    expect(endStep(silent, policy("promote")).because).toBe(
      "0 canary requests prove neither good nor bad; onInconclusive: promote needs at least 50",
    );
  });
});

describe("rollout longer than its horizon", () => {
  const dead = windowOf({ n: 200, errors: 200 }, { n: 1800, errors: 4 });
  const outlived = fed(300, GOOD, fresh({ horizonWindows: 10 }));

  it("says when it no longer looks for a change, and looks again once renewed", () => {
    expect(decide(fed(9, GOOD, fresh({ horizonWindows: 10 }))).horizonLeft).toBe(2);
    expect(decide(outlived).horizonLeft).toBe(0);
    expect(decide(fed(5, dead, outlived)).verdict).not.toBe("rollback");
    expect(untilRollback(dead, renew(outlived)).windows).toBe(1);
  });

  it("keeps its counts and what it knows of stable", () => {
    const renewed = renew(outlived);
    expect(renewed.totals).toEqual(outlived.totals);
    expect(renewed.reference).toEqual(outlived.reference);
    expect(decide(renewed).windows).toBe(300);
  });
});

describe("input and storage", () => {
  it("stops at counts that can't have happened, naming them", () => {
    const bad = (canary: object) => () => update(fresh(), { ...GOOD, canary: { ...GOOD.canary, ...canary } });
    expect(bad({ n: Number.NaN })).toThrow("canary window holds NaN");
    expect(bad({ n: -3 })).toThrow("canary window holds -3");
    expect(bad({ n: 1, errors: 2 })).toThrow("2 errors ≤ 1 requests");
    expect(bad({ hist: [1, 2, 3] })).toThrow("3 buckets, not 112");
  });

  it("refuses a stored state it can't trust, with the reason", () => {
    const text = serialise(fed(2, GOOD));
    expect(parse("{")).toMatchObject({ ok: false, error: { reason: "unreadable-state" } });
    expect(parse("null")).toMatchObject({ ok: false, error: { detail: "not an object" } });
    expect(parse(text.replace('"schema":1', '"schema":9'))).toMatchObject({
      error: { detail: "schema 9, this judge reads 1" },
    });
    expect(parse(text.replace(/"phi":[^,]+/, '"phi":null'))).toMatchObject({
      error: { detail: "phi holds a number that did not survive JSON" },
    });
    expect(parse(text.replace(/"k":2,/, ""))).toMatchObject({ error: { detail: "k is missing" } });
  });

  it("keeps −Infinity through plain JSON", () => {
    const state = fresh();
    expect(JSON.parse(JSON.stringify(state))).toEqual(state);
    expect(state.guard).toEqual(["-Infinity", "-Infinity", "-Infinity"]);
  });

  it("calls those late that were given no answer yet, and no more than have none", () => {
    const late = latencyBucket(LATE_MS);
    const answers = (came: number) => {
      const hist = at(80, 10)
        .with(late, 8)
        .with(late + 8, came);
      const window = { canary: { n: 10 + came, errors: 0, hist }, baseline: { n: 0, errors: 0 } };
      return decide(update(fresh(), window)).rollout.canary.answers;
    };
    expect(answers(3)).toBe(10 + 3 + 5);
    // Some of a window before it.
    expect(answers(9)).toBe(10 + 9);
  });
});
