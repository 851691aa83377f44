import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { numberOf } from "../../../src/domain/routing/buckets.ts";
import {
  chooseFallback,
  chooseInstance,
  chooseRelease,
  chooseRescue,
  compileRoute,
  isEligible,
  type RequestFacts,
  type Route,
} from "../../../src/domain/routing/choose.ts";
import { HEALTHY } from "../../../src/domain/routing/ejection.ts";
import type { MatchRule } from "../../../src/domain/routing/table.ts";
import { releaseOf, tableOf } from "../../support/tables.ts";

const NOW = 1_790_000_000_000;
const A = "http://127.0.0.1:1001";
const B = "http://127.0.0.1:1002";
/** Any request that may be sent again. */
const errand = (turn = 0) => ({ turn, isResendable: true, now: NOW });
const unready = (origin: string) => ({ origin, ready: false });

/** A canary `r2` at `weightBp` on two instances, stable `r1` on two. */
function canary(weightBp: number, overrides: Parameters<typeof tableOf>[1] = {}): Route {
  const releases = [releaseOf("r2", weightBp, [A, B]), releaseOf("r1", 10_000 - weightBp, [A, B])];
  return compileRoute(
    tableOf([], { releases, stable: "r1", partialUntil: NOW + 60_000, ...overrides }),
    null,
  );
}

const facts = (
  given: Partial<{ header: string; cookie: string; country: string; path: string }>,
): RequestFacts => ({
  header: (name) => (name === "x-beta" ? (given.header ?? null) : null),
  cookie: (name) => (name === "beta" ? (given.cookie ?? null) : null),
  country: () => given.country ?? null,
  path: given.path ?? "/",
});

describe("choosing a release", () => {
  it("gives the canary its buckets and stable the rest", () => {
    const route = canary(1_000);
    const releaseAt = (bucket: number) => chooseRelease(route, { bucket, eligible: true }, NOW)?.id;
    expect([releaseAt(0), releaseAt(999), releaseAt(1_000), releaseAt(9_999)]).toEqual([
      "r2",
      "r2",
      "r1",
      "r1",
    ]);
  });

  it("keeps those who are not eligible on stable at any weight", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 10_000 }),
        fc.integer({ min: 0, max: 9_999 }),
        (weight, bucket) => {
          expect(chooseRelease(canary(weight), { bucket, eligible: false }, NOW)?.id).toBe("r1");
        },
      ),
    );
  });

  it("sends the canary's share to stable once nobody has vouched for the split in time", () => {
    const route = canary(5_000, { partialUntil: NOW });
    expect(chooseRelease(route, { bucket: 0, eligible: true }, NOW)?.id).toBe("r2");
    expect(chooseRelease(route, { bucket: 0, eligible: true }, NOW + 1)?.id).toBe("r1");
  });

  it("has no release to give before the first one is live", () => {
    const route = compileRoute(tableOf([], { releases: [releaseOf("r1", 0, [A])], stable: null }), null);
    expect(chooseRelease(route, { bucket: 0, eligible: true }, NOW)).toBeNull();
  });

  it("never gives a release at 0 %, whatever the bucket", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 9_999 }), (bucket) => {
        expect(chooseRelease(canary(0), { bucket, eligible: true }, NOW)?.id).toBe("r1");
      }),
    );
  });
});

describe("eligibility", () => {
  const all: MatchRule = {
    header: { name: "x-beta", value: "1" },
    cookie: { name: "beta", value: "yes" },
    countries: ["NZ", "AU"],
    pathPrefix: "/new/",
  };
  const everything = { header: "1", cookie: "yes", country: "NZ", path: "/new/page" };

  it("wants every condition of a rule", () => {
    expect(isEligible([all], facts(everything))).toBe(true);
    for (const field of ["header", "cookie", "country", "path"] as const) {
      expect(isEligible([all], facts({ ...everything, [field]: "other" }))).toBe(false);
    }
  });

  it("wants one rule of several, and no rules let everyone in", () => {
    expect(isEligible([all, { countries: ["DE"] }], facts({ country: "DE" }))).toBe(true);
    expect(isEligible([all, { countries: ["DE"] }], facts({ country: "FR" }))).toBe(false);
    expect(isEligible(null, facts({}))).toBe(true);
  });
});

describe("choosing an instance", () => {
  it("takes the usable ones in turn, evenly", () => {
    const release = canary(1_000).releases[0];
    if (!release) throw new Error("no release");
    const chosen = [0, 1, 2, 3].map((turn) => chooseInstance(release, errand(turn))?.id);
    expect(chosen).toEqual(["r2-0", "r2-1", "r2-0", "r2-1"]);
  });

  it("never takes one that is not ready, ejected or tried while another is usable", () => {
    const instance = fc.record({ ready: fc.boolean(), ejected: fc.boolean(), tried: fc.boolean() });
    fc.assert(
      fc.property(fc.array(instance, { minLength: 1, maxLength: 20 }), fc.nat(), (states, turn) => {
        const origins = states.map(({ ready }) => ({ origin: A, ready }));
        const route = compileRoute(tableOf([], { releases: [releaseOf("r1", 10_000, origins)] }), null);
        const release = route.stable;
        if (!release) throw new Error("no release");
        const tried = release.instances.filter((candidate, i) => {
          if (states[i]?.ejected) candidate.health = { failures: 0, ejectedUntil: NOW + 1, ejections: 1 };
          return states[i]?.tried;
        });
        const chosen = chooseInstance(release, errand(turn), tried);
        const usable = states.some(({ ready, ejected, tried: was }) => ready && !ejected && !was);
        const state = states[chosen === null ? -1 : release.instances.indexOf(chosen)];
        expect(state ?? null).toEqual(usable ? { ready: true, ejected: false, tried: false } : null);
      }),
    );
  });

  it("gives one that was ejected a request that may be sent again first", () => {
    const route = compileRoute(tableOf([A, B]), null);
    const [release] = route.releases;
    const [first] = release?.instances ?? [];
    if (!release || !first) throw new Error("no instance");
    first.health = { failures: 0, ejectedUntil: NOW - 1, ejections: 1 };
    const turns = (isResendable: boolean) =>
      [0, 1].map((turn) => chooseInstance(release, { turn, isResendable, now: NOW })?.id);
    expect(turns(true)).toEqual(["r1-0", "r1-1"]);
    expect(turns(false)).toEqual(["r1-1", "r1-1"]);
    first.health = HEALTHY;
    expect(turns(false)).toEqual(["r1-0", "r1-1"]);
  });

  it("refuses origins outside the tunnel zone and names them", () => {
    const origins = [
      "https://sl-1.tunnel.test",
      "https://sl-1.tunnel.test.evil.test",
      "http://169.254.169.254",
    ];
    const releases = [releaseOf("r1", 10_000, origins)];
    const route = compileRoute(tableOf([], { releases, originSuffixes: [".tunnel.test"] }), null);
    expect(route.releases[0]?.instances.map(({ host }) => host)).toEqual(["sl-1.tunnel.test"]);
    expect(route.refusedOrigins).toEqual(origins.slice(1));
  });

  it("keeps what it saw of an instance when a newer table arrives", () => {
    const before = canary(1_000);
    const ejected = { failures: 0, ejectedUntil: NOW + 5_000, ejections: 1 };
    const [instance] = before.releases[0]?.instances ?? [];
    if (instance) instance.health = ejected;
    const after = compileRoute({ ...before.table, version: 2 }, before);
    expect(after.releases[0]?.instances[0]?.health).toBe(ejected);
    expect(after.releases[0]?.instances[1]?.health.ejections).toBe(0);
  });
});

describe("without a usable instance in the chosen release", () => {
  const chooseAt = (route: Route) => {
    const chosen = chooseRelease(route, { bucket: 0, eligible: true }, NOW);
    return chosen && (chooseFallback(route, chosen, errand())?.id ?? null);
  };

  it("falls back to stable, even at 0 %", () => {
    const releases = [releaseOf("r2", 10_000, [unready(A)]), releaseOf("r1", 0, [B])];
    expect(chooseAt(compileRoute(tableOf([], { releases, stable: "r1" }), null))).toBe("r1-0");
  });

  it("falls back to what traffic would go back to, after all that hold weight", () => {
    const releases = [
      releaseOf("r3", 5_000, [unready(A)]),
      releaseOf("r1", 0, [B]),
      releaseOf("r2", 5_000, [B]),
    ];
    expect(chooseAt(compileRoute(tableOf([], { releases, stable: "r2", heir: "r1" }), null))).toBe("r2-0");
    const none = releases.map((release) =>
      release.weightBp > 0 ? releaseOf(release.id, 5_000, []) : release,
    );
    expect(chooseAt(compileRoute(tableOf([], { releases: none, stable: "r2", heir: "r1" }), null))).toBe(
      "r1-0",
    );
  });

  it("never falls back to any other release at 0 %", () => {
    const releases = [releaseOf("r3", 0, [A]), releaseOf("r1", 10_000, [unready(B)])];
    expect(chooseAt(compileRoute(tableOf([], { releases, stable: "r1" }), null))).toBe("r1-0");
  });

  it("tries an unready instance rather than none (panic)", () => {
    const releases = [releaseOf("r2", 5_000, [unready(A)]), releaseOf("r1", 5_000, [unready(B)])];
    expect(chooseAt(compileRoute(tableOf([], { releases, stable: "r1" }), null))).toBe("r2-0");
  });

  it("prefers a ready but ejected instance to an unready one in panic", () => {
    const route = compileRoute(tableOf([], { releases: [releaseOf("r1", 10_000, [unready(A), B])] }), null);
    const second = route.stable?.instances[1];
    if (second) second.health = { failures: 0, ejectedUntil: NOW + 1_000, ejections: 1 };
    expect(chooseAt(route)).toBe("r1-1");
  });

  it("gives what can't be sent again to a half-open instance rather than to an ejected one", () => {
    const route = compileRoute(tableOf([A, B]), null);
    const [ejected, halfOpen] = route.stable?.instances ?? [];
    if (ejected) ejected.health = { failures: 0, ejectedUntil: NOW + 1_000, ejections: 1 };
    if (halfOpen) halfOpen.health = { failures: 0, ejectedUntil: NOW - 1, ejections: 1 };
    for (const turn of [0, 1]) {
      const post = { ...errand(turn), isResendable: false };
      expect(route.stable && chooseFallback(route, route.stable, post)?.id).toBe("r1-1");
    }
  });

  it("has nowhere to go when no release has an instance", () => {
    const releases = [releaseOf("r2", 5_000, []), releaseOf("r1", 5_000, [])];
    expect(chooseAt(compileRoute(tableOf([], { releases, stable: "r1" }), null))).toBeNull();
  });
});

describe("rescuing a failed attempt", () => {
  const rescue = (route: Route, ids: readonly string[], isPinned = false) => {
    const every = route.releases.flatMap((release) => release.instances);
    const tried = ids.flatMap((id) => every.filter((instance) => instance.id === id));
    return chooseRescue(route, { tried, isPinned }, errand())?.id ?? null;
  };

  it("goes to another instance of the release, then to stable", () => {
    expect(rescue(canary(1_000), ["r2-0"])).toBe("r2-1");
    expect(rescue(canary(1_000), ["r2-0", "r2-1"])).toBe("r1-0");
  });

  it("leaves the last attempt to stable even if the release has more instances", () => {
    const releases = [releaseOf("r2", 1_000, [A, B, A]), releaseOf("r1", 9_000, [A])];
    expect(rescue(compileRoute(tableOf([], { releases, stable: "r1" }), null), ["r2-0", "r2-1"])).toBe(
      "r1-0",
    );
  });

  it("tries first who has not failed of late: one more miss and the visitor has no answer", () => {
    const releases = [releaseOf("r2", 1_000, [A]), releaseOf("r1", 9_000, [A, B, A])];
    const route = compileRoute(tableOf([], { releases, stable: "r1" }), null);
    for (const id of [0, 2]) {
      const instance = route.stable?.instances[id];
      if (instance) instance.health = { ...HEALTHY, failures: 1 };
    }
    expect(rescue(route, ["r2-0"])).toBe("r1-1");
  });

  it("goes to stable at once when the release has no other instance", () => {
    const releases = [releaseOf("r2", 1_000, [A]), releaseOf("r1", 9_000, [A])];
    expect(rescue(compileRoute(tableOf([], { releases, stable: "r1" }), null), ["r2-0"])).toBe("r1-0");
  });

  it("keeps a preview on its release", () => {
    expect(rescue(canary(0), ["r2-0"], true)).toBe("r2-1");
    expect(rescue(canary(0), ["r2-0", "r2-1"], true)).toBeNull();
  });

  it("goes to a release with weight when stable has nobody left", () => {
    const releases = [releaseOf("r3", 0, [A]), releaseOf("r2", 1_000, [A]), releaseOf("r1", 9_000, [B])];
    const route = compileRoute(tableOf([], { releases, stable: "r1" }), null);
    expect(rescue(route, ["r1-0"])).toBe("r2-0");
    expect(rescue(route, ["r1-0", "r2-0"])).toBeNull();
  });

  it("goes to what traffic would go back to, last of all and not of a preview", () => {
    const releases = [releaseOf("r2", 10_000, [A, B]), releaseOf("r1", 0, [A])];
    const route = compileRoute(tableOf([], { releases, stable: "r2", heir: "r1" }), null);
    expect(rescue(route, ["r2-0"])).toBe("r2-1");
    expect(rescue(route, ["r2-0", "r2-1"])).toBe("r1-0");
    expect(rescue(route, ["r2-0", "r2-1"], true)).toBeNull();
  });

  it("leaves the last attempt to the canary when two of stable have failed the request", () => {
    const releases = [releaseOf("r2", 1_000, [A]), releaseOf("r1", 9_000, [A, B, A])];
    const route = compileRoute(tableOf([], { releases, stable: "r1" }), null);
    expect(rescue(route, ["r1-0"])).toBe("r1-1");
    expect(rescue(route, ["r1-0", "r1-1"])).toBe("r2-0");
  });

  it("sends a POST that reached nobody to a half-open instance where no other is left, and not before", () => {
    const route = canary(1_000);
    const post = { ...errand(), isResendable: false };
    const [first, second] = route.releases[0]?.instances ?? [];
    if (!first || !second) throw new Error("the canary has two");
    second.health = { failures: 0, ejectedUntil: NOW - 1, ejections: 1 };
    expect(chooseRescue(route, { tried: [first], isPinned: false }, post)?.id).toBe("r1-0");
    expect(chooseRescue(route, { tried: [first], isPinned: true }, post)?.id).toBe("r2-1");
    second.health = { ...second.health, ejectedUntil: NOW + 1 };
    expect(chooseRescue(route, { tried: [first], isPinned: true }, post)).toBeNull();
  });

  it("knows an instance that was tried by another table", () => {
    const before = compileRoute(tableOf([A, B]), null);
    const after = compileRoute(tableOf([A, B], { version: 2 }), before);
    const tried = before.releases[0]?.instances.slice(0, 1) ?? [];
    expect(chooseRescue(after, { tried, isPinned: false }, errand())?.id).toBe("r1-1");
  });

  it("never tries an instance twice", () => {
    const route = compileRoute(tableOf([A, B]), null);
    expect(rescue(route, ["r1-0", "r1-1"])).toBeNull();
  });
});

describe("an instance that is a visitor's own", () => {
  const origins = Array.from({ length: 5 }, (_, n) => `http://127.0.0.1:${1_000 + n}`);
  const own = (keeper: number, given: readonly (string | { origin: string; ready: boolean })[] = origins) => {
    const [release] = compileRoute(
      tableOf([], { releases: [releaseOf("r1", 10_000, given)] }),
      null,
    ).releases;
    return release && chooseInstance(release, { ...errand(keeper), keeper })?.id;
  };
  const keepers = Array.from({ length: 2_000 }, (_, n) => numberOf(`visitor-${n}`));

  it("is the same in every table, and each has about its share", () => {
    const counts = new Map<string | undefined, number>();
    for (const keeper of keepers) {
      expect(own(keeper)).toBe(own(keeper));
      counts.set(own(keeper), (counts.get(own(keeper)) ?? 0) + 1);
    }
    for (const count of counts.values()) expect(count).toBeGreaterThan(320);
    expect(counts.size).toBe(5);
  });

  it("changes only for those whose own is lost", () => {
    const left = origins.map((origin, n) => (n === 2 ? unready(origin) : origin));
    for (const keeper of keepers) {
      const before = own(keeper);
      if (before === "r1-2") expect(own(keeper, left)).not.toBe("r1-2");
      else expect(own(keeper, left)).toBe(before);
    }
  });
});
