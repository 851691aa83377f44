import { describe, expect, it } from "vitest";
import { HOST_CELLS } from "../../../bench/canary/host-cells.ts";
import { type Hosts, HostsWorld } from "../../../bench/canary/hosts.ts";
import { type Scenario, simulate } from "../../../bench/canary/simulation.ts";
import {
  type ArmWindow,
  type CanaryState,
  type CanaryWindow,
  canaryConfig,
  decide,
  init,
  describe as inWords,
  type Judgement,
  type KeptWindow,
  keepWindow,
  parse,
  replay,
  serialise,
  tick,
  update,
} from "../../../src/domain/canary/index.ts";
import { HISTOGRAM_BUCKETS } from "../../../src/domain/routing/meter.ts";

/** Requests, the milliseconds in which those that don't fail are answered, and errors. */
type Counts = readonly [n: number, ms: number, errors?: number];
interface Where {
  readonly canary?: Counts;
  readonly stable?: Counts;
}

const bucketOf = (ms: number): number => Math.floor(8 * Math.log2(ms));

/** Answers spread over some buckets around `ms`. */
function arm([n, ms, errors = 0]: Counts = [0, 80]): Required<Omit<ArmWindow, "synthetic">> {
  const hist = new Array<number>(HISTOGRAM_BUCKETS).fill(0);
  for (let i = 0; i < n - errors; i++) hist[bucketOf(ms) + (i % 5)] = (hist[bucketOf(ms) + (i % 5)] ?? 0) + 1;
  return { n, errors, distinctErrors: errors, hist };
}

const sum = (arms: readonly ArmWindow[]): ArmWindow =>
  arms.reduce((a, b) => ({
    n: a.n + b.n,
    errors: a.errors + b.errors,
    distinctErrors: (a.distinctErrors ?? 0) + (b.distinctErrors ?? 0),
    hist: (a.hist ?? []).map((count, i) => count + (b.hist?.[i] ?? 0)),
  }));

function on(places: Readonly<Record<string, Where>>): CanaryWindow {
  const hosts = Object.entries(places).map(([host, { canary, stable }]) => ({
    host,
    canary: arm(canary),
    baseline: arm(stable),
  }));
  return { canary: sum(hosts.map((h) => h.canary)), baseline: sum(hosts.map((h) => h.baseline)), hosts };
}

const together = ({ canary, baseline }: CanaryWindow): CanaryWindow => ({ canary, baseline });

const fresh = (limits: Parameters<typeof canaryConfig>[0] = {}): CanaryState =>
  init(arm([10_000, 80]).hist, canaryConfig(limits));

/** What was said last: at the rollback, or after an hour. */
function judged(
  window: CanaryWindow,
  from = fresh(),
): { windows: number; decision: Judgement; state: CanaryState } {
  let state = from;
  for (let windows = 1; windows <= 360; windows++) {
    state = update(state, window);
    const decision = decide(state);
    if (decision.verdict === "rollback") return { windows, decision, state };
  }
  return { windows: 360, decision: decide(state), state };
}

const SLOW_HOST = on({
  "web-1": { stable: [600, 80] },
  "web-2": { canary: [60, 120], stable: [120, 120] },
});

describe("response times", () => {
  it("of a canary on a slow host are compared with stable's there", () => {
    expect(judged(together(SLOW_HOST)).decision).toMatchObject({ verdict: "rollback", reason: "latency" });
    const { decision } = judged(SLOW_HOST);
    expect(decision.verdict).toBe("pass");
    expect(inWords(decision)).toMatch(
      /p95 (\d+) ms against \1 ms on stable, .*; response times on web-1 left out, no canary there; web-2 is slow for stable too \(1\.\d ×\): no worse than stable$/,
    );
  });

  it("show a slow canary on hosts that are alike as soon as all together would", () => {
    const place = { canary: [20, 160], stable: [180, 80] } as const;
    const slow = on({ "web-1": place, "web-2": place, "web-3": place });
    const { windows, decision } = judged(slow);
    expect(decision).toMatchObject({ verdict: "rollback", reason: "latency" });
    expect(windows).toBeLessThanOrEqual(judged(together(slow)).windows);
  });

  it("show a slow canary on a fast host, which all together would hide", () => {
    const hidden = on({
      "web-1": { canary: [60, 120], stable: [120, 80] },
      "web-2": { stable: [600, 120] },
    });
    const from = init(hidden.baseline.hist, canaryConfig({}));
    expect(judged(together(hidden), from).decision.verdict).toBe("pass");
    expect(judged(hidden, from).decision).toMatchObject({ verdict: "rollback", reason: "latency" });
  });

  it("on a host that stable is not on are left out, and the verdict says so", () => {
    const { decision } = judged(
      on({ "web-1": { canary: [30, 80], stable: [300, 80] }, "web-3": { canary: [30, 240] } }),
    );
    expect(decision.verdict).toBe("pass");
    expect(inWords(decision)).toContain("; response times on web-3 left out, no stable there");
  });

  it("where no host has both are compared all together, with room for what hosts differ by", () => {
    const apart = (ms: number) => on({ "web-1": { stable: [540, 80] }, "web-2": { canary: [60, ms] } });
    expect(judged(together(apart(112))).decision.verdict).toBe("rollback");
    expect(judged(apart(112)).decision.verdict).toBe("pass");
    const { decision, windows } = judged(apart(240));
    expect(decision).toMatchObject({ verdict: "rollback", reason: "latency" });
    expect(windows).toBeLessThanOrEqual(6);
    expect(inWords(decision)).toMatch(
      /; no host has both: response times are of web-2 against web-1, which may differ by 41 % themselves: rolled back$/,
    );
  });

  it("over p95Max count for nothing while stable's on the same host are over it too", () => {
    const limit = init(arm([10_000, 80]).hist, { ...canaryConfig({ p95MaxMs: 140 }), latShift: 20 });
    const few = on({ "web-1": { stable: [1200, 80] }, "web-2": { canary: [60, 120], stable: [120, 120] } });
    expect(judged(together(few), limit).decision.reason).toBe("latency-ceiling");
    expect(judged(few, limit).decision.verdict).toBe("pass");
  });

  it("of a side that left a host five minutes ago are compared there no more", () => {
    const both = on({ "web-1": { canary: [20, 80], stable: [180, 80] }, "web-2": { stable: [180, 80] } });
    const moved = on({ "web-1": { stable: [180, 80] }, "web-2": { canary: [20, 80], stable: [180, 80] } });
    let state = update(fresh(), both);
    for (let i = 0; i < 29; i++) state = update(state, moved);
    expect(decide(state).hosts).toMatchObject({ shared: ["web-1", "web-2"] });
    expect(decide(update(state, moved)).hosts).toMatchObject({ shared: ["web-2"], stableOnly: ["web-1"] });
  });
});

describe("errors", () => {
  /** Stable fails 2 % on web-2 and 0.2 % elsewhere; so does the canary, which is on web-2 alone. */
  const failing = (errors: number): CanaryWindow =>
    on({ "web-1": { stable: [1000, 80, 2] }, "web-2": { canary: [100, 80, errors], stable: [500, 80, 10] } });

  it("on a host where stable fails more are compared by themselves, and the verdict says so", () => {
    expect(judged(together(failing(2))).decision).toMatchObject({ verdict: "rollback", reason: "errors" });
    const { decision } = judged(failing(2));
    expect(decision.verdict).toBe("pass");
    expect(inWords(decision)).toContain("; web-2 by itself, where stable fails 2 % (elsewhere 0.2 %)");
  });

  it("show a canary that fails more than stable on a failing host", () => {
    const { decision, windows } = judged(failing(8));
    expect(decision).toMatchObject({ verdict: "rollback", reason: "errors" });
    expect(windows).toBeLessThanOrEqual(8);
  });

  it("are no route's fault on a host where stable fails more", () => {
    const window = failing(2);
    const there = { n: 100, errors: 2, distinctErrors: 2 };
    const stable = { n: 1500, errors: 12, distinctErrors: 12 };
    const routes = [
      { route: "GET /", canary: there, baseline: stable, hosts: [{ host: "web-2", ...there }] },
    ];
    expect(judged({ ...together(window), routes }).decision.verdict).toBe("rollback");
    expect(judged({ ...window, routes }).decision.verdict).toBe("pass");
  });

  it("of a host that begins to fail for both, even over the ceiling, are not charged to the canary there", () => {
    const rest = { stable: [4000, 80, 8] } as const;
    const good = on({ "web-1": rest, "web-2": { canary: [500, 80, 1], stable: [500, 80, 1] } });
    const down = on({ "web-1": rest, "web-2": { canary: [500, 80, 150], stable: [500, 80, 150] } });
    const { state } = judged(good);
    expect(judged(together(down), state).decision).toMatchObject({ verdict: "rollback" });
    expect(judged(down, state).decision.verdict).toBe("pass");
    expect(tick(state, [together(down)])).toMatchObject({ reason: "error-ceiling" });
    expect(tick(state, [down])).toBeNull();
    const alone = on({ "web-1": rest, "web-2": { canary: [500, 80, 150], stable: [500, 80, 1] } });
    expect(tick(state, [alone])).toMatchObject({ reason: "error-ceiling" });
    expect(judged(alone, state).windows).toBe(1);
  });

  it("on a host that stable is not on count as everywhere", () => {
    const { decision } = judged(
      on({ "web-1": { canary: [50, 80], stable: [900, 80, 2] }, "web-3": { canary: [50, 80, 10] } }),
    );
    expect(decision).toMatchObject({ verdict: "rollback", reason: "errors" });
  });
});

describe("hosts as they are kept", () => {
  it("give the same verdict in a replay, and windows from before they were kept can still be judged", () => {
    const kept: KeptWindow[] = [];
    let state = fresh();
    for (let i = 0; i < 40; i++) {
      kept.push(keepWindow(SLOW_HOST, state));
      state = update(state, SLOW_HOST);
    }
    const read = JSON.parse(JSON.stringify(kept)) as KeptWindow[];
    expect(replay(read, canaryConfig({})).decision).toEqual(decide(state));
    const old = read.map(({ hosts: _, ...before }) => before);
    expect(replay(old, canaryConfig({})).decision).toMatchObject({ verdict: "rollback", reason: "latency" });
  });

  it("survive being stored, and may begin in a rollout that began without them", () => {
    const { state } = judged(SLOW_HOST);
    expect(parse(serialise(state))).toEqual({ ok: true, value: state });
    const before = parse(serialise(update(fresh(), together(SLOW_HOST))));
    expect(before.ok && judged(SLOW_HOST, before.value).decision.verdict).toBe("continue");
  });

  it("take bounded room however many there are", () => {
    const many = on(
      Object.fromEntries(
        Array.from({ length: 200 }, (_, n) => [`web-${n}`, { canary: [1, 80], stable: [9, 80] }] as const),
      ),
    );
    const { state, decision } = judged(many);
    expect(decision.verdict).toBe("pass");
    expect(state.hosts?.length).toBeLessThanOrEqual(50);
    expect(keepWindow(many, state).hosts?.length).toBeLessThanOrEqual(50);
  });

  it("with counts that can't have happened stop the judge", () => {
    const window = on({ "web-1": { canary: [1, 80], stable: [9, 80] } });
    const [host] = window.hosts ?? [];
    const impossible = host ? [{ ...host, canary: { n: 1, errors: 2 } }] : [];
    expect(() => update(fresh(), { ...window, hosts: impossible })).toThrow(RangeError);
  });
});

// A glance at what bench/canary measures properly; seeded.
describe("hosts that differ", () => {
  const DIFFER = HOST_CELLS.find(({ name }) => name.includes("waver"))?.hosts ?? { count: 0 };
  class Together extends HostsWorld {
    override window(start: number): CanaryWindow {
      return together(super.window(start));
    }
  }
  const rolledBack = (World: typeof HostsWorld, scenario: Scenario, hosts: Hosts) =>
    Array.from({ length: 12 }, (_, run) =>
      simulate(scenario, 7_005, run, (chance) => new World(scenario, hosts, chance)),
    ).filter(({ rolledBackS }) => rolledBackS !== null).length;

  it("in speed by 20-40 % and in errors by 1 % fail no good canary on the slowest", () => {
    const scenario = { rate: 200, minutes: 30 };
    expect(rolledBack(Together, scenario, DIFFER)).toBeGreaterThan(0);
    expect(rolledBack(HostsWorld, scenario, DIFFER)).toBe(0);
  });

  it("hide no canary that is twice as slow", () => {
    expect(rolledBack(HostsWorld, { rate: 20, minutes: 5, canaryLatency: 2 }, DIFFER)).toBe(12);
  });
});
