import { describe, expect, it } from "vitest";
import {
  type CanaryWindow,
  canaryConfig,
  decide,
  init,
  describe as inWords,
  keepWindow,
  replay,
  watchConfig,
} from "../../../src/domain/canary/index.ts";
import { LATE_MS } from "../../../src/domain/routing/meter.ts";
import { at, type Counts, fed, fresh, GOOD, untilRollback, windowOf } from "./windows.ts";

describe("verdict in words", () => {
  it("says errors, both sides' requests and what follows", () => {
    const { decision } = untilRollback(windowOf({ n: 206, errors: 9 }, { n: 1852, errors: 4 }), fresh());
    expect(inWords(decision)).toBe(
      "errors 4.4 % against 0.22 % on stable, 412 and 3,704 requests: rolled back",
    );
    expect(inWords(decision, "pause")).toMatch(/: failed, paused$/);
  });

  it("explains a late failure by the windows that showed it, not by the good half hour before", () => {
    const good = fed(180, GOOD);
    const { decision } = untilRollback(windowOf({ n: 200, errors: 200 }, { n: 1800, errors: 4 }), good);
    expect(inWords(decision)).toBe(
      "errors 100 % against 0.22 % on stable, 200 and 1,800 requests, over the limit of 10 %: rolled back",
    );
    expect(decision.rollout.canary).toMatchObject({ requests: 36_200, errors: 200 });
  });

  it("names the quantile that is slower, in milliseconds of both sides", () => {
    const { decision } = untilRollback(windowOf({ n: 200, ms: 240 }, { n: 1800 }), fresh());
    expect(inWords(decision)).toMatch(
      /^p(50|90|99) 24\d ms against 8\d ms on stable, \d+ and [\d,]+ answers: rolled back$/,
    );
  });

  it("calls a release slow of which nothing but late answers is known: it hangs", () => {
    const hangs: CanaryWindow = {
      canary: { n: 0, errors: 0, hist: at(LATE_MS, 20) },
      baseline: { n: 20, errors: 0, hist: at(80, 20) },
    };
    const { decision, windows } = untilRollback(hangs, init(at(80, 5_000), canaryConfig({})));
    expect(inWords(decision)).toMatch(
      /^p50 5,\d+ ms against 8\d ms on stable, \d+ and \d+ answers: rolled back$/,
    );
    expect(windows).toBeLessThanOrEqual(6);
    // After a switch what is merely slow gets its first minute; what hangs doesn't.
    expect(untilRollback(hangs, init(at(80, 5_000), watchConfig({}))).windows).toBeLessThanOrEqual(4);
  });

  it("gives a release that is slow after its switch, and does not hang, its first minute", () => {
    const cold = windowOf({ n: 200, ms: 3_000 }, { n: 200, ms: 80 });
    const after = init(at(80, 5_000), watchConfig({}));
    expect(decide(fed(6, cold, after)).verdict).not.toBe("rollback");
    expect(untilRollback(cold, after).windows).toBeLessThanOrEqual(12);
    // One that says itself how long it warms up is left alone for so long.
    const hangs = windowOf({ n: 200, ms: 6_000 }, { n: 200, ms: 80 });
    const patient = init(at(80, 5_000), watchConfig({ warmUpWindows: 9 }));
    expect(decide(fed(9, hangs, patient)).verdict).not.toBe("rollback");
  });

  it("calls nothing slow that is quick enough, however much quicker stable is", () => {
    const twice = windowOf({ n: 200, ms: 9 }, { n: 1800, ms: 4 });
    const quick = at(4, 5_000);
    expect(untilRollback(twice, init(quick)).decision.verdict).toBe("rollback");
    const judging = init(quick, canaryConfig({}));
    expect(decide(fed(60, twice, judging)).verdict).not.toBe("rollback");
    const slow = windowOf({ n: 200, ms: 14 }, { n: 1800, ms: 4 });
    expect(inWords(untilRollback(slow, judging).decision)).toMatch(/^p\d\d 1\d ms against 4 ms on stable/);
    const after = init(quick, watchConfig({}));
    expect(decide(fed(60, windowOf({ n: 200, ms: 19 }, { n: 200, ms: 4 }), after)).verdict).not.toBe(
      "rollback",
    );
    expect(untilRollback(windowOf({ n: 200, ms: 60 }, { n: 200, ms: 4 }), after).decision.verdict).toBe(
      "rollback",
    );
  });

  it("knows of what is slower than the histogram reaches no more than that", () => {
    const { decision } = untilRollback(windowOf({ n: 200, ms: 16_000 }, { n: 1800 }), fresh());
    expect(inWords(decision)).toMatch(/^p50 over 15,000 ms against 8\d ms on stable, /);
  });

  it("says when visitors met several errors each", () => {
    const window = windowOf({ n: 200, errors: 30, visitors: 10 }, { n: 1800, errors: 4, visitors: 4 });
    const { decision, windows } = untilRollback(window, fresh());
    expect(inWords(decision)).toContain(
      `(errors counted once per visitor and window: ${10 * windows} of ${30 * windows} and ${4 * windows} of ${4 * windows})`,
    );
  });

  it("says how many of the requests were control's own visits, whatever is decided, and judged again as well", () => {
    const visited = (own: Partial<Counts>) =>
      windowOf({ n: 100, synthetic: 80, ...own }, { n: 900, synthetic: 700 });
    const { decision, windows } = untilRollback(visited({ errors: 9 }), fresh());
    const counts = `${80 * windows} and ${(700 * windows).toLocaleString("en")} synthetic`;
    expect(inWords(decision)).toContain(`requests, of which ${counts}`);
    expect(decision.rollout).toMatchObject({
      canary: { synthetic: 80 * windows },
      baseline: { synthetic: 700 * windows },
    });
    const kept = keepWindow(visited({ errors: 9 }), fresh());
    const again = replay(Array(windows).fill(JSON.parse(JSON.stringify(kept))), {});
    expect(again.decision && inWords(again.decision)).toBe(inWords(decision));
    const slow = untilRollback(visited({ ms: 240 }), fresh());
    expect(inWords(slow.decision)).toMatch(/answers, of which \d+ and [\d,]+ synthetic: rolled back$/);
    expect(inWords(decide(fed(1, visited({}))))).toContain("requests, of which 80 and 700 synthetic;");
  });

  it("tells missing data from missing proof, outage and pass", () => {
    expect(inWords(decide(fresh()))).toBe(
      "not enough data yet: errors unknown against unknown on stable, 0 and 0 requests; a verdict needs 300 canary requests",
    );
    const close = windowOf({ n: 150, errors: 2 }, { n: 150, errors: 1 });
    expect(inWords(decide(fed(3, close)))).toMatch(/^not proven yet: errors 1.3 % against 0.67 % on stable/);
    const outage = windowOf({ n: 200, errors: 60 }, { n: 1800, errors: 540 });
    expect(inWords(decide(fed(2, outage)))).toMatch(/^stable itself fails \(30 % in the last minute\)/);
    expect(inWords(decide(fed(4, GOOD)))).toMatch(
      /^errors 0 % against 0.22 % on stable, .* no worse than stable$/,
    );
  });

  it("does not round a nearly dead canary up to 100 %", () => {
    const { decision } = untilRollback(windowOf({ n: 1000, errors: 999 }, { n: 1000 }), fresh());
    expect(inWords(decision)).toMatch(/^errors over 99 % against 0 %/);
  });
});

describe("the culprit in words", () => {
  const on = (n: number, errors: number) => ({ n, errors, distinctErrors: errors });
  const window: CanaryWindow = {
    ...windowOf({ n: 210, errors: 9, visitors: 9 }, { n: 1_900, errors: 3, visitors: 3 }),
    routes: [
      {
        route: "POST /checkout",
        canary: on(10, 9),
        baseline: on(95, 0),
        hosts: [
          { host: "web-1", n: 1, errors: 0 },
          { host: "web-2", n: 9, errors: 9 },
        ],
        failed: { id: "4f0c8a52-1d7e-4b-9k", instance: "rel_2-1", since: 10_000 },
      },
      { route: "GET /", canary: on(200, 0), baseline: on(1_805, 3), hosts: [] },
    ],
  };

  it("is the route that fails, with both sides' counts", () => {
    const { decision } = untilRollback(window, init(at(80, 10_000), canaryConfig({})));
    expect(decision.culprits[0]).toMatchObject({ route: "POST /checkout", baseline: { errors: 0 } });
    expect(decision.culprits[0]?.failed).toEqual({
      id: "4f0c8a52-1d7e-4b-9k",
      instance: "rel_2-1",
      since: 10_000,
    });
    expect(inWords(decision, "rollback", "on stable", "v42")).toMatch(
      /POST \/checkout: \d+ of \d+ on v42, 0 of \d+ on stable.*: rolled back$/,
    );
  });

  it("names the host when it fails on a single one", () => {
    const [checkout] = window.routes ?? [];
    if (!checkout) throw new Error("no route");
    const hosts = [
      { host: "web-1", n: 5, errors: 0 },
      { host: "web-2", n: 5, errors: 5 },
    ];
    const one = { ...window, routes: [{ ...checkout, canary: on(10, 5), hosts }] };
    const { decision } = untilRollback(one, init(at(80, 10_000), canaryConfig({})));
    expect(inWords(decision, "rollback", "on stable", "v42")).toContain("on stable, web-2 only");
  });

  it("is nobody in particular when everything fails alike", () => {
    const all = windowOf({ n: 20, errors: 20, visitors: 20 }, { n: 180, visitors: 0 });
    const routes = ["GET /", "GET /a"].map((route) => ({
      route,
      canary: on(10, 10),
      baseline: on(90, 0),
      hosts: [],
    }));
    const { decision } = untilRollback({ ...all, routes }, init(at(80, 10_000), canaryConfig({})));
    expect(inWords(decision)).not.toContain("GET /");
  });
});
