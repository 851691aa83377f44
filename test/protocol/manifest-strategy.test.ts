import { describe, expect, test } from "vitest";
import { errorsOf, onlyError, specOf, withEnv, withTop } from "./manifests.ts";

const STRATEGY = "environments.production.strategy";
const strategyOf = (lines: string) => specOf(withEnv(lines)).strategy;
const steps = (list: string) => withEnv(`strategy: { canary: { steps: [${list}] } }`);

describe("a strategy's defaults", () => {
  test("a canary is 10 % for 15 m, 50 % for 5 m, then all; judged, and on doubt it asks", () => {
    const step = { kind: "weight", match: null, mirrorBp: 0 };
    expect(strategyOf("strategy: canary")).toEqual({
      kind: "canary",
      steps: [
        { ...step, weightBp: 1_000, bakeMs: 900_000 },
        { ...step, weightBp: 5_000, bakeMs: 300_000 },
        { ...step, weightBp: 10_000, bakeMs: 0 },
      ],
      analysis: {
        enabled: true,
        warmUpMs: 0,
        maxWaitMs: 1_800_000,
        onInconclusive: "ask",
        onFailure: "rollback",
      },
    });
  });

  test("a rolling release has one more at a time, and none less", () => {
    const usual = { kind: "rolling", maxSurge: { count: 1 }, maxUnavailable: { count: 0 } };
    expect(strategyOf("strategy: rolling")).toEqual(usual);
    expect(strategyOf("strategy: { rolling: {} }")).toEqual(usual);
    expect(strategyOf("strategy: { rolling: { maxSurge: 25%, maxUnavailable: 1 } }")).toEqual({
      kind: "rolling",
      maxSurge: { percent: 25 },
      maxUnavailable: { count: 1 },
    });
  });

  test("a release has time for its steps, their longest wait for proof and its pauses, and an hour", () => {
    const { deadlines } = specOf(
      steps("{ weight: 10, bake: 2h }, { pause: { for: 3h } }, { analysis: { for: 4h } }, { weight: 100 }"),
    );
    const half = 1_800_000;
    expect(deadlines.releaseMs).toBe((1 + 2 + 3 + 4) * 3_600_000 + 2 * half);
    expect(deadlines).toMatchObject({ hookMs: 900_000, pauseMs: 86_400_000 });
  });
});

describe("a canary keeps everything it says", () => {
  test("its steps, each of its kind; match and mirror hold from their step on", () => {
    const text = `strategy:
  canary:
    steps:
      - { weight: 0.5, match: [{ header: { name: X-Team, value: qa } }, { countries: [DE, FR], pathPrefix: /shop }] }
      - { pause: {} }
      - { weight: 25, bake: 90s, mirror: 5 }
      - { analysis: { for: 10m } }
      - { weight: 100 }`;
    const match = [
      { header: { name: "X-Team", value: "qa" } },
      { countries: ["DE", "FR"], pathPrefix: "/shop" },
    ];
    expect(strategyOf(text)).toMatchObject({
      steps: [
        { kind: "weight", weightBp: 50, bakeMs: 0, match, mirrorBp: 0 },
        { kind: "pause", forMs: null },
        { kind: "weight", weightBp: 2_500, bakeMs: 90_000, match, mirrorBp: 500 },
        { kind: "analysis", forMs: 600_000 },
        { kind: "weight", weightBp: 10_000, match, mirrorBp: 500 },
      ],
    });
  });

  test("fields that are to differ, named as verdicts name them, beside what is compared", () => {
    const mirror = (ignore: string) =>
      `strategy: { canary: { steps: [{ weight: 1, mirror: { weight: 5, ${ignore} } }, { weight: 100 }] } }`;
    const fields = ["$.version", "$.users.{}.role", "$.items[].price", "$"];
    const text = mirror(`compare: json, ignore: ${JSON.stringify(fields)}`);
    expect(strategyOf(text)).toMatchObject({
      steps: [{ compare: "json", ignore: fields }, { ignore: fields }],
    });
  });

  test("mirrored answers that are compared, until a step says otherwise", () => {
    const text = `strategy: { canary: { steps: [{ weight: 1, mirror: { weight: 5, compare: json } }, { weight: 10 },
      { weight: 50, mirror: { weight: 2.5 } }, { weight: 100, mirror: 0 }] } }`;
    const step = { kind: "weight", bakeMs: 0, match: null };
    expect(strategyOf(text)).toHaveProperty("steps", [
      { ...step, weightBp: 100, mirrorBp: 500, compare: "json" },
      { ...step, weightBp: 1_000, mirrorBp: 500, compare: "json" },
      { ...step, weightBp: 5_000, mirrorBp: 250 },
      { ...step, weightBp: 10_000, mirrorBp: 0 },
    ]);
  });

  test("its limits, and what to do on doubt and on failure", () => {
    const given = "errorRateMax: 1%, p95Max: 500ms, warmUp: 1m, onInconclusive: abort, onFailure: pause";
    expect(strategyOf(`strategy: { canary: { analysis: { ${given} } } }`)).toMatchObject({
      analysis: {
        enabled: true,
        errorRateMax: 0.01,
        p95MaxMs: 500,
        warmUpMs: 60_000,
        onInconclusive: "abort",
        onFailure: "pause",
      },
    });
  });

  test("that it is not to be judged", () => {
    expect(strategyOf("strategy: { canary: { analysis: false } }")).toMatchObject({
      analysis: { enabled: false },
    });
  });
});

describe("steps that can't be are refused by name, with their line", () => {
  test.each([
    [
      "that don't rise",
      "{ weight: 50 }, { weight: 20 }, { weight: 100 }",
      "steps",
      "must rise: weight 20 comes after 50",
    ],
    [
      "that stand still",
      "{ weight: 10 }, { weight: 10 }, { weight: 100 }",
      "steps",
      "must rise: weight 10 comes after 10",
    ],
    [
      "that fall after a pause",
      "{ weight: 50 }, { pause: {} }, { weight: 20 }, { weight: 100 }",
      "steps",
      "must rise",
    ],
    ["that never reach 100", "{ weight: 10 }, { weight: 50 }", "steps", "must end with `weight: 100`"],
    ["that go on after 100", "{ weight: 100 }, { pause: {} }", "steps", "must end with `weight: 100`"],
    ["none at all", "", "steps", "at least 1"],
    [
      "more than everything",
      "{ weight: 10 }, { weight: 101 }, { weight: 100 }",
      "steps.1.weight",
      "at most 100",
    ],
    ["finer than 0.01 %", "{ weight: 10.005 }, { weight: 100 }", "steps.0.weight", "at most two decimals"],
    [
      "a weight in words",
      "{ weight: half }, { weight: 100 }",
      "steps.0.weight",
      "must be a number from 0 to 100",
    ],
    [
      "a weight and a pause in one",
      "{ weight: 10, pause: {} }, { weight: 100 }",
      "steps.0",
      "one of `weight`, `pause` and `analysis`",
    ],
    ["nothing in one", "{}, { weight: 100 }", "steps.0", "one of `weight`, `pause` and `analysis`"],
    [
      "a bake outside a weight",
      "{ pause: {}, bake: 5m }, { weight: 100 }",
      "steps.0",
      "must be a `weight` step to have `bake`",
    ],
    [
      "a mirror outside a weight",
      "{ analysis: {}, mirror: 5 }, { weight: 100 }",
      "steps.0",
      "must be a `weight` step",
    ],
    [
      "a comparison of what it can't read",
      "{ weight: 10, mirror: { weight: 5, compare: html } }, { weight: 100 }",
      "steps.0.mirror.compare",
      "must be json",
    ],
    [
      "a field to ignore that no verdict would name",
      "{ weight: 10, mirror: { weight: 5, compare: json, ignore: [version] } }, { weight: 100 }",
      "steps.0.mirror.ignore.0",
      "such as $.version",
    ],
    [
      "fields to ignore where nothing is compared",
      '{ weight: 10, mirror: { weight: 5, ignore: ["$.version"] } }, { weight: 100 }',
      "steps.0.mirror.ignore",
      "beside `compare: json`",
    ],
    [
      "a bake without a unit",
      "{ weight: 10, bake: 5 }, { weight: 100 }",
      "steps.0.bake",
      "must be a duration",
    ],
    [
      "a match of nothing",
      "{ weight: 10, match: [{}] }, { weight: 100 }",
      "steps.0.match.0",
      "must name a header",
    ],
    [
      "a country in small letters",
      "{ weight: 10, match: [{ countries: [de] }] }, { weight: 100 }",
      "steps.0.match.0.countries.0",
      "country code",
    ],
  ])("%s", (_what, list, pointer, detail) => {
    const errors = errorsOf(steps(list));
    const at = `${STRATEGY}.canary.${pointer}`;
    const found = errors.find((error) => error.pointer === at && error.detail.includes(detail));
    expect(found, JSON.stringify(errors)).toMatchObject({ code: "invalid", line: 7 });
  });
});

describe("keys of a strategy that aren't any are refused, with their own line", () => {
  test.each([
    [
      "of the analysis",
      "strategy:\n  canary:\n    analysis:\n      errorRateMax: 1%\n      p95: 500ms",
      "canary.analysis.p95",
      11,
    ],
    [
      "of a step",
      "strategy:\n  canary:\n    steps:\n      - { weihgt: 10 }\n      - { weight: 100 }",
      "canary.steps.0.weihgt",
      10,
    ],
    ["of the canary", "strategy:\n  canary:\n    step: []", "canary.step", 9],
    ["of a rolling release", "strategy:\n  rolling: { surge: 1 }", "rolling.surge", 8],
  ])("%s", (_where, lines, pointer, line) => {
    const unknown = errorsOf(withEnv(lines)).find(({ code }) => code === "unknown_key");
    expect(unknown).toMatchObject({ pointer: `${STRATEGY}.${pointer}`, line });
  });
});

describe("a wrong value of a strategy, window, hook or smoke check says what it must be", () => {
  const env = (lines: string, pointer: string, detail: string) =>
    [withEnv(lines), `environments.production.${pointer}`, detail] as const;
  test.each([
    env(
      "strategy: { canary: { analysis: { errorRateMax: 1 } } }",
      "strategy.canary.analysis.errorRateMax",
      "a percentage such as 1%",
    ),
    env(
      "strategy: { canary: { analysis: { errorRateMax: 100% } } }",
      "strategy.canary.analysis.errorRateMax",
      "less than 100%",
    ),
    env(
      "strategy: { canary: { analysis: { p95Max: 0ms } } }",
      "strategy.canary.analysis.p95Max",
      "more than 0ms",
    ),
    env(
      "strategy: { canary: { analysis: { onInconclusive: shrug } } }",
      "strategy.canary.analysis.onInconclusive",
      "must be ask, promote or abort",
    ),
    env(
      "strategy: { canary: { analysis: { onFailure: cry } } }",
      "strategy.canary.analysis.onFailure",
      "must be rollback or pause",
    ),
    env("strategy: { canary: { analysis: yes } }", "strategy.canary.analysis", "must be false, or limits"),
    env(
      "strategy: { rolling: { maxSurge: -1 } }",
      "strategy.rolling.maxSurge",
      "a number of instances such as 1",
    ),
    env("strategy: { rolling: { maxSurge: 200% } }", "strategy.rolling.maxSurge", "at most 100%"),
    env("windows: { allow: Mon-Fri 18:00-25:00 }", "windows.allow", "beyond 24:00"),
    env("windows: { allow: Mon 08:00-08:00 }", "windows.allow", "never opens"),
    env("windows: { allow: Mon 08:00-09:00 Mars/Base }", "windows.allow", "`Mars/Base`"),
    env("windows: { allow: Mom 08:00-09:00 }", "windows.allow", "`Mom`"),
    env("windows: { allow: [Mon 08:00-09:00, always] }", "windows.allow.1", "`always` is not a window"),
    env("windows: { freeze: 2026-13-01 }", "windows.freeze", "is not a date"),
    env("windows: { freeze: 2026-12-24..2026-12-01 }", "windows.freeze", "ends before it begins"),
    env("windows: []", "windows", "must be a map"),
    [withTop("hooks: { expand: npm run migrate }"), "hooks.expand", "a command as a list"],
    [withTop("hooks: { contract: [] }"), "hooks.contract", "at least 1"],
    [withTop("smoke: [{ path: health }]"), "smoke.0.path", "starts with /"],
    [withTop("smoke: [{ path: /, status: 42 }]"), "smoke.0.status", "at least 100"],
  ] as const)("%#: %s", (text, pointer, detail) => {
    expect(onlyError(text)).toMatchObject({ code: "invalid", pointer, line: 7, column: expect.any(Number) });
    expect(onlyError(text).detail).toContain(detail);
  });
});

describe("windows, hooks and smoke checks reach the spec", () => {
  test("windows as one text or a list, in their own zone or UTC", () => {
    const { rules } = specOf(
      withEnv(
        "windows:\n  allow: [Mon-Fri 08:00-18:00 Asia/Dhaka, Sat 10:00-12:00]\n  freeze: 2026-12-24..2027-01-02",
      ),
    );
    expect(rules).toEqual({
      allow: [
        { days: [1, 2, 3, 4, 5], fromMin: 480, toMin: 1_080, timeZone: "Asia/Dhaka" },
        { days: [6], fromMin: 600, toMin: 720, timeZone: "UTC" },
      ],
      freeze: [{ from: "2026-12-24", to: "2027-01-02", timeZone: "UTC" }],
    });
  });

  test("hooks as commands, smoke checks with 200 unless they say otherwise", () => {
    const text =
      "hooks: { expand: [npm, run, expand] }\nsmoke: [{ path: /health, contains: ok }, { path: /old, status: 410 }]";
    const { hooks, smoke } = specOf(withTop(text));
    expect(hooks).toEqual({ expand: ["npm", "run", "expand"] });
    expect(smoke).toEqual([
      { path: "/health", status: 200, contains: "ok" },
      { path: "/old", status: 410 },
    ]);
  });
});

describe("synthetic visits", () => {
  const loadOf = (load: string) => specOf(withEnv(`load: ${load}`)).load;

  test("are none unless asked for; one a second, unjudged", () => {
    expect(specOf(withEnv("strategy: canary"))).not.toHaveProperty("load");
    expect(loadOf('{ paths: ["/"] }')).toEqual({ paths: ["/"], ratePerS: 1, judge: false });
    expect(loadOf('{ paths: ["/", "/a?b=%20c"], rate: 30/m, judge: true }')).toEqual({
      paths: ["/", "/a?b=%20c"],
      ratePerS: 0.5,
      judge: true,
    });
  });

  test.each([
    "https://evil.test/",
    "//evil.test/",
    "/\\\\evil.test",
    "cart",
    "",
    "/a b",
    "/a#b",
    "/ä",
    "/a\\nHost: x",
    `/${"a".repeat(200)}`,
  ])("a path %j is none of the app's own", (path) => {
    expect(onlyError(withEnv(`load: { paths: ["${path}"] }`)).pointer).toBe(
      "environments.production.load.paths.0",
    );
  });

  test.each(["0/s", "0.5/m", "5.1/s", "301/m", "1", "2/h", "-1/s", "1e3/s"])(
    "a rate of %s is out of bounds",
    (rate) => {
      expect(onlyError(withEnv(`load: { paths: ["/"], rate: "${rate}" }`)).detail).toContain(
        "from 1/m to 5/s",
      );
    },
  );

  test("are of at most ten paths, each once", () => {
    const paths = (count: number) => JSON.stringify(Array.from({ length: count }, (_, n) => `/${n}`));
    expect(loadOf(`{ paths: ${paths(10)} }`)?.paths).toHaveLength(10);
    for (const bad of [paths(11), "[]", '["/", "/"]'])
      expect(errorsOf(withEnv(`load: { paths: ${bad} }`))).toHaveLength(1);
  });
});
