import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { wholeSplit } from "../../../cli/commands/weight.ts";
import { EXIT } from "../../../cli/exit-codes.ts";
import { EXPLANATIONS } from "../../../cli/explanations.ts";
import { failedRequestText } from "../../../cli/failed-request.ts";
import { FAILURES } from "../../../cli/failures.ts";
import { endOf, failureBlock, isRestored, stopBlock } from "../../../cli/follow/release-end.ts";
import { plain } from "../../../cli/io/print.ts";
import { CLI_CODES } from "../../../cli/io/problem.ts";
import { RELEASE_STATES } from "../../../src/domain/rollout/release.ts";
import type { ReleaseView } from "../../../src/protocol/api/releases.ts";
import { PROBLEM_CODES } from "../../../src/protocol/problem.ts";
import { aFailedRelease, anEnvironment, anInstance, aRelease } from "../../support/cli/fake-api.ts";

const ROOT = join(import.meta.dirname, "../../..");

describe("the end", () => {
  test("claims 3 only with proof: whatever the split, 3 means nothing of it and all of the rest is ready", () => {
    const share = fc.tuple(
      fc.constantFrom("v1", "v2", "v3"),
      fc.integer({ min: 0, max: 100 }),
      fc.integer({ min: 0, max: 2 }),
    );
    void fc.assert(
      fc.property(fc.uniqueArray(share, { selector: ([version]) => version }), (shares) => {
        const environment = anEnvironment(shares, { live: aRelease({ id: "rel_1" }) });
        const { exit } = endOf(aFailedRelease(), environment);
        const serving = environment.split.filter((entry) => entry.weight > 0);
        const good =
          serving.length > 0 && serving.every((entry) => entry.release !== "rel_2" && entry.ready > 0);
        expect(exit).toBe(good ? EXIT.restored : EXIT.notRestored);
      }),
    );
  });

  test("a first release that fails has taken nothing from anybody", () => {
    expect(isRestored(aFailedRelease(), anEnvironment([]))).toBe(true);
    expect(isRestored(aFailedRelease(), anEnvironment([], { live: aRelease({ id: "rel_1" }) }))).toBe(false);
  });

  test("is 2 for one that never began, as for one that was refused when it was asked for", () => {
    const failure = { code: "no_slots" as const, message: "web-1 has 0 of 2 free slots", logs: [] };
    const release = aFailedRelease({ startedAt: null, failure });
    expect(endOf(release, anEnvironment([["v1", 100]])).exit).toBe(EXIT.refused);
    expect(endOf(release, undefined).exit).toBe(EXIT.notRestored);
  });

  test("says of a release that got as far as was asked whether it is paused", () => {
    const paused = { at: aRelease().createdAt, by: "ann", reason: "lunch", until: null };
    const parts = { environment: undefined, url: undefined, undo: "", was: "v1", next: [], paint: plain };
    const head = (release: ReleaseView) => stopBlock({ ...parts, release }, "reached").split("\n")[0];
    expect(head(aRelease({ state: "shifting" }))).toMatch(/goes on$/);
    expect(head(aRelease({ state: "shifting", paused }))).toMatch(/is paused$/);
  });

  test("only serving, or having served, is a success", () => {
    const good = RELEASE_STATES.filter(
      (state) => endOf(aRelease({ state }), anEnvironment()).exit === EXIT.ok,
    );
    expect(good).toEqual(["settling", "live"]);
    expect(endOf(aRelease({ state: "superseded", servingAt: aRelease().createdAt }), undefined).exit).toBe(
      EXIT.ok,
    );
  });
});

test("every problem, of the API and of the CLI, can be explained", () => {
  expect(Object.keys(EXPLANATIONS).sort()).toEqual([...PROBLEM_CODES, ...Object.keys(CLI_CODES)].sort());
});

test("a failed release's block has the app's lines of the request that failed, or says why there are none", () => {
  const request = {
    id: "4f0c-9k",
    route: "POST /pay",
    host: "web-2",
    lines: ["no \u001b[31mcart"],
    note: null,
  };
  expect(failedRequestText(request)).toEqual([
    "  request 4f0c-9k failed: POST /pay on web-2; the app's lines of it:",
    expect.stringMatching(/^ {4}\| no .*cart$/),
  ]);
  expect(failedRequestText({ ...request, lines: [], note: "web-2 is offline" })).toEqual([
    "  request 4f0c-9k failed: POST /pay on web-2",
    "    web-2 is offline",
  ]);
  const release = aFailedRelease({ failedRequest: request });
  const parts = {
    release,
    environment: undefined,
    url: undefined,
    was: undefined,
    undo: "",
    next: [],
    paint: plain,
  };
  expect(failureBlock(parts, { exit: EXIT.restored, outcome: "rolled_back" })).toContain(
    "request 4f0c-9k failed",
  );
});

test("every failure that the engine names can be explained, too", () => {
  const places = ["src/domain/{rollout,processes,commands}/**/*.ts", "src/control/environment/*.ts"];
  const files = places.flatMap((place) => globSync(place, { cwd: ROOT }));
  const named = files.flatMap((file) =>
    [...readFileSync(join(ROOT, file), "utf8").matchAll(/code: "([a-z_]+)"/g)].map(([, code = ""]) => code),
  );
  expect(named.length).toBeGreaterThan(30);
  const known = { ...EXPLANATIONS, ...FAILURES };
  expect([...new Set(named)].filter((code) => !Object.hasOwn(known, code))).toEqual([]);
});

describe("the whole split from what was said", () => {
  const two = anEnvironment(
    [
      ["v2", 0],
      ["v1", 100],
    ],
    { active: aRelease() },
  );
  const split = (asked: readonly [string | undefined, number][], environment = two) =>
    wholeSplit(
      environment,
      asked.map(([release, weight]) => ({ release, weight })),
    );

  test("one number is the share of the release on its way", () => {
    expect(split([[undefined, 25.5]])).toEqual({ rel_2: 25.5, rel_1: 74.5 });
  });

  test("versions and ids both name a release", () => {
    expect(split([["v2", 10]])).toEqual(split([["rel_2", 10]]));
  });

  test("a release kept warm without traffic can be given some; one without a ready instance can't", () => {
    const warm = [
      anInstance({ release: "rel_1", version: "v1" }),
      anInstance({ id: "ins_0", release: "rel_0", version: "v0", ready: false }),
    ];
    const environment = anEnvironment([["v2", 100]], { instances: warm });
    expect(split([["v1", 25]], environment)).toEqual({ rel_1: 25, rel_2: 75 });
    expect(() => split([["v0", 25]], environment)).toThrow(/v0` has no ready instance; these have: v2, v1/);
  });

  test("all of it to one leaves nothing to the others", () => {
    expect(split([["v1", 100]])).toEqual({ rel_1: 100, rel_2: 0 });
  });

  test.each([
    ["an unknown version", [["v9", 10]], /v9.*these have: v2, v1/],
    [
      "more than everything",
      [
        ["v1", 60],
        ["v2", 60],
      ],
      /120%/,
    ],
    [
      "the same release twice",
      [
        ["v1", 60],
        ["rel_1", 40],
      ],
      /twice/,
    ],
    [
      "a sum under 100 with nobody to take the rest",
      [
        ["v1", 60],
        ["v2", 10],
      ],
      /30% of the traffic would go nowhere/,
    ],
  ] as const)("refuses %s", (_what, asked, message) => {
    expect(() => split([...asked].map(([release, weight]) => [release, weight]))).toThrow(message);
  });

  test("one number is refused when no release is on its way", () => {
    expect(() =>
      split(
        [[undefined, 25]],
        anEnvironment([
          ["v2", 100],
          ["v1", 0],
        ]),
      ),
    ).toThrow(/say which one/);
  });

  test("always sums to 100 and is never negative, whatever it was before", () => {
    const hundredths = fc.integer({ min: 0, max: 10_000 });
    void fc.assert(
      fc.property(hundredths, fc.array(hundredths, { minLength: 1, maxLength: 5 }), (asked, others) => {
        const shares = others.map((weight, i) => [`v${i + 3}`, Math.max(0.01, weight / 100)] as const);
        const environment = anEnvironment([["v2", 0], ...shares], { active: aRelease() });
        const weights = Object.values(split([[undefined, asked / 100]], environment));
        const sum = weights.reduce((total, weight) => total + Math.round(weight * 100), 0);
        expect(sum).toBe(10_000);
        expect(Math.min(...weights)).toBeGreaterThanOrEqual(0);
      }),
    );
  });
});
