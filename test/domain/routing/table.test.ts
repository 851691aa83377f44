import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { supersedes } from "../../../src/domain/routing/table.ts";
import { parseTable } from "../../../src/domain/routing/table-shape.ts";
import { releaseOf, tableOf } from "../../support/tables.ts";

const refusal = (value: unknown): string => {
  const parsed = parseTable(value);
  return parsed.ok ? "accepted" : parsed.error;
};
/** A valid table with one field replaced, as JSON would bring it. */
const withField = (path: string, value: unknown): unknown => {
  const table = JSON.parse(JSON.stringify(tableOf(["http://127.0.0.1:1"])));
  const steps = path.split(".");
  const last = steps.pop() ?? "";
  const holder = steps.reduce((at, step) => at[step], table);
  holder[last] = value;
  return table;
};

describe("parsing a routing table", () => {
  it("accepts what control publishes, with fields it does not know yet", () => {
    const table = { ...tableOf(["https://sl-a.tunnel.test"]), addedLater: { any: "thing" } };
    expect(parseTable(JSON.parse(JSON.stringify(table)))).toEqual({ ok: true, value: table });
  });

  it.each([
    ["schema", 2, "schema 2"],
    ["version", "7", "version"],
    ["version", -1, "version"],
    ["hostnames", "shop.test", "hostnames"],
    ["affinity", { kind: "magic" }, "kind"],
    ["affinity", { kind: "header" }, "affinity: name"],
    ["affinity", { kind: "toString" }, "kind"],
    ["mode", { kind: "paused" }, "mode: until"],
    ["releases", [{ id: "r1" }], "releases: [0]"],
    ["releases.0.weightBp", 10_001, "weightBp"],
    ["releases.0.weightBp", 9_999, "weights sum to 9999"],
    ["releases.0.weightBp", 0.5, "weightBp"],
    ["releases.0.instances.0.origin", "http://127.0.0.1:1/path", "origin"],
    ["releases.0.instances.0.origin", "file:///etc/passwd", "origin"],
    ["releases.0.instances.0.origin", "http://user@host", "origin"],
    ["releases.0.instances.0.ready", "yes", "ready"],
    ["stable", "r9", 'stable "r9"'],
    ["match", {}, "match"],
    ["mirror", { release: "r1", shareBp: 20_000 }, "shareBp"],
    ["mirror", { release: "r1", shareBp: 500, compare: "html" }, "compare"],
    ["previewKey", "xyz", "previewKey"],
    ["timeouts", {}, "responseMs"],
  ])("refuses %s = %j and says where", (path, value, message) => {
    expect(refusal(withField(path, value))).toContain(message);
  });

  it("accepts weights that are all 0 before the first release is live", () => {
    const table = tableOf([], { releases: [releaseOf("r1", 0, [])], stable: null });
    expect(parseTable(table).ok).toBe(true);
  });

  it("never throws, whatever arrives", () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        expect(parseTable(value).ok).toBe(false);
      }),
    );
  });

  it("never throws on a table with any one field spoilt", () => {
    const fields = Object.keys(tableOf([]));
    fc.assert(
      fc.property(fc.constantFrom(...fields), fc.jsonValue(), (field, value) => {
        expect(() => parseTable(withField(field, value))).not.toThrow();
      }),
    );
  });
});

describe("superseding", () => {
  const held = tableOf([], { version: 7, publishedAt: 2_000 });

  it("never steps back within an environment", () => {
    expect(supersedes({ ...held, version: 6, publishedAt: 9_000 }, held)).toBe(false);
    expect(supersedes({ ...held, version: 8, publishedAt: 1_000 }, held)).toBe(true);
  });

  it("follows a hostname that moved to another environment, whose versions start anew", () => {
    const moved = { ...held, environment: "env_2", version: 1 };
    expect(supersedes({ ...moved, publishedAt: 2_001 }, held)).toBe(true);
    expect(supersedes({ ...moved, publishedAt: 1_999 }, held)).toBe(false);
  });
});
