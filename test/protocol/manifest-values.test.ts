import { describe, expect, test } from "vitest";
import { parseManifest } from "../../src/protocol/manifest/manifest.ts";
import { errorsOf, MINIMAL, onlyError, specOf, withEnv, withTop } from "./manifests.ts";

describe("a variable is plain or secret, not both", () => {
  test.each([
    ["env: { A: x }", "secrets: [A]", "environments.production.secrets.0"],
    ["secrets: [A]", "env: { A: x }", "environments.production.env.A"],
  ])("%s above and %s in an environment", (above, below, pointer) => {
    const text = withTop(above).replace(/( +)hostnames:/, `$1${below}\n$1hostnames:`);
    expect(onlyError(text)).toMatchObject({ pointer });
    expect(onlyError(text).detail).toContain("keep one of the two");
  });

  test("one name in both lists of secrets is one secret", () => {
    const text = withTop("secrets: [A, B]").replace(/( +)hostnames:/, "$1secrets: [B, C]\n$1hostnames:");
    expect(specOf(text).secrets).toEqual(["A", "B", "C"]);
  });
});

describe("a wrong value is named, with what it must be", () => {
  test.each([
    [
      "a number for text",
      MINIMAL.replace("shop\n", "123\n"),
      "app",
      'must be text: write it in quotes, "123"',
    ],
    ["text for a number", MINIMAL.replace("3000", '"3000"'), "port", "must be a number, without quotes"],
    ["a port out of range", MINIMAL.replace("3000", "70000"), "port", "must be at most 65535"],
    [
      "half a replica",
      withEnv("replicas: 1.5"),
      "environments.production.replicas",
      "must be a whole number",
    ],
    ["no replica", withEnv("replicas: 0"), "environments.production.replicas", "must be at least 1"],
    [
      "approval at pauses that there are not",
      withEnv("approval: { before: step }"),
      "environments.production.approval.before",
      "asks at each `pause: {}` of a canary, and `strategy` has none: add one, or say `traffic`",
    ],
    ["a duration without a unit", withTop("drain: 30"), "drain", "must be a duration such as 250ms"],
    ["a duration without an end", withTop("drain: 99999999999d"), "drain", "must be at most 365d"],
    [
      "a probe that never rests",
      withTop("health: { readiness: { path: /, interval: 0s } }"),
      "health.readiness.interval",
      "must be at least 50ms",
    ],
    [
      "no time to start",
      withTop("health: { startup: { deadline: 0s } }"),
      "health.startup.deadline",
      "must be at least 1s",
    ],
    [
      "a size that isn't one",
      withTop("resources: { memory: 1 gig }"),
      "resources.memory",
      "must be a size such as",
    ],
    [
      "a reservation over the limit",
      withTop("resources: { memory: 1g, memoryReservation: 2g }"),
      "resources",
      "must not reserve more memory",
    ],
    [
      "a path without a slash",
      withTop("health: { liveness: { path: live } }"),
      "health.liveness.path",
      "must be a path that starts with /",
    ],
    [
      "a path that ends the line",
      withTop('health: { liveness: { path: "/a\\r\\nX: y" } }'),
      "health.liveness.path",
      "must be a path",
    ],
    [
      "a URL for a hostname",
      MINIMAL.replace("[shop", "[https://shop"),
      "environments.production.hostnames.0",
      "no scheme or port",
    ],
    ...(
      [
        ['"*.example.com/api"', "below a wildcard"],
        ["shop.example.com/api?x", "no request is compared with"],
        ["shop.example.com/a/../b", "no request is compared with"],
        ["shop.example.com/%61pi", "no request is compared with"],
        ["shop.example.com//api", "no request is compared with"],
        ["my_app.example.com", "has an underscore"],
        ["münchen.example", "with xn--"],
        ["shop_.xn--mnchen-3ya.example", "has an underscore"],
      ] as const
    ).map(([name, words]): [string, string, string, string] => [
      `the hostname ${name}`,
      MINIMAL.replace("shop.example.com", name),
      "environments.production.hostnames.0",
      words,
    ]),
    [
      "no hostname",
      MINIMAL.replace("[shop.example.com]", "[]"),
      "environments.production.hostnames",
      "must be at least 1 entries",
    ],
    [
      "the same hostname twice",
      MINIMAL.replace("[shop.example.com]", "[a.example, A.example]"),
      "environments.production.hostnames",
      "names a hostname twice",
    ],
    [
      "an image that is a flag",
      MINIMAL.replace("ghcr.io/acme/shop", "--privileged"),
      "image",
      "must be an image such as",
    ],
    [
      "an image with blanks",
      MINIMAL.replace("ghcr.io/acme/shop", "a b"),
      "image",
      "must be an image such as",
    ],
    [
      "an unknown affinity",
      withEnv("affinity: cokie"),
      "environments.production.affinity",
      "must be cookie, ip, none or header:<name>",
    ],
    [
      "an unknown strategy",
      withEnv("strategy: blue-gren"),
      "environments.production.strategy",
      "must be blue-green",
    ],
    ["a variable without a value", withTop("env: { A: }"), "env.A", "is empty"],
    ["a variable that is a list", withTop("env: { A: [1] }"), "env.A", "must be text"],
    [
      "a variable no shell takes",
      withTop('env: { "A B": x }'),
      "env.A B",
      "must be a name of letters, digits, _, . and -",
    ],
    [
      "an environment without content",
      "app: a\nimage: b\nport: 1\nenvironments:\n  production:\n",
      "environments.production",
      "is empty",
    ],
    [
      "an environment in capitals",
      MINIMAL.replace("production:", "Prod:"),
      "environments.Prod",
      "must be 1–40 of a-z",
    ],
    [
      "a process whose name is too long, once",
      withTop(`processes: { ${"a".repeat(41)}: { command: [work] } }`),
      `processes.${"a".repeat(41)}`,
      "must be 1–20 of a-z",
    ],
    [
      "no environment",
      "app: a\nimage: b\nport: 1\nenvironments: {}\n",
      "environments",
      "must have at least one environment",
    ],
  ])("%s", (_what, text, pointer, detail) => {
    const error = onlyError(text);
    expect(error).toMatchObject({ code: "invalid", pointer });
    expect(error.detail).toContain(detail);
    expect(error.line).toBeGreaterThan(0);
  });

  test("what is missing is said to be missing", () => {
    expect(errorsOf("app: shop\n").map((error) => error.detail)).toEqual([
      "`port` is missing",
      "`environments` is missing",
    ]);
  });

  test("without an image it is one that is shipped to hosts", () => {
    const parsed = parseManifest(MINIMAL.replace(/^image: .*\n/m, ""));
    expect(parsed.ok && parsed.manifest.image).toBe("sluice.local/shop");
  });

  test("two environments can't have the same hostname", () => {
    const text = `${MINIMAL}  staging:\n    hostnames:\n      - s.example.com\n      - Shop.example.com\n`;
    expect(onlyError(text)).toMatchObject({
      pointer: "environments.staging.hostnames",
      line: 8,
      column: 5,
    });
    expect(onlyError(text).detail).toContain(
      "`shop.example.com`, which environment `production` has already",
    );
  });

  test("all errors come at once, in the order of the file", () => {
    const text = `app: Shop\nimage: b\nport: x\nhoks: {}\nvolumes: [x]\nenvironments:\n  p: { hostnames: [h.example], replicas: 0 }\n`;
    expect(errorsOf(text).map((error) => [error.line, error.code])).toEqual([
      [1, "invalid"],
      [3, "invalid"],
      [4, "unknown_key"],
      [5, "invalid"],
      [7, "invalid"],
    ]);
  });
});
