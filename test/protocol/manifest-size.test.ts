import { describe, expect, test } from "vitest";
import { parseManifest } from "../../src/protocol/manifest/manifest.ts";
import { errorsOf, MINIMAL, onlyError, withTop } from "./manifests.ts";

const KIB = 1024;

/** So many bytes of pieces, one after the other. */
function filled(bytes: number, piece: (n: number) => string): string {
  let text = "";
  for (let n = 0; text.length < bytes; n++) text += piece(n);
  return text;
}

/** Processor time in ms; of three tries the first that is below, since what else the machine does counts with it. */
function costOf(work: () => unknown, below: number): number {
  let cost = Number.POSITIVE_INFINITY;
  for (let tries = 0; tries < 3 && cost >= below; tries++) {
    const before = process.cpuUsage();
    work();
    const { user, system } = process.cpuUsage(before);
    cost = (user + system) / 1_000;
  }
  return cost;
}

describe("a manifest", () => {
  test("has at most 64 KiB, counted in bytes", () => {
    const comment = (bytes: number) => `${MINIMAL}#${"x".repeat(bytes - MINIMAL.length - 1)}`;
    expect(errorsOf(comment(64 * KIB))).toEqual([]);
    expect(onlyError(comment(64 * KIB + 1)).detail).toBe("it has 65 KiB, and a manifest at most 64");
    expect(onlyError(`${MINIMAL}#${"ü".repeat(40_000)}`).detail).toContain("at most 64");
  });

  test("of 60,000 unknown keys is answered in less than 100 ms", () => {
    const text = Array.from({ length: 60_000 }, (_, n) => `key${n}: 1`).join("\n");
    expect(costOf(() => parseManifest(text), 100)).toBeLessThan(100);
    expect(onlyError(text).detail).toContain("at most 64");
  });

  test("of unknown keys only is told its first 50 mistakes, in order, and how many more there are", () => {
    const text = Array.from({ length: 5_000 }, (_, n) => `key${n}: 1`).join("\n");
    const errors = errorsOf(`${MINIMAL}${text}\n`);
    expect(errors).toHaveLength(51);
    expect(errors.slice(0, 50).map(({ pointer }) => pointer)).toEqual(
      Array.from({ length: 50 }, (_, n) => `key${n}`),
    );
    expect(errors[0]).toMatchObject({ code: "unknown_key", line: 7, column: 1 });
    expect(errors[50]).toEqual({ code: "more", pointer: "", detail: "and 4,950 more" });
  });

  test.each([
    ["a flow map", `{${filled(60_000, (n) => `k${n.toString(36)},`)}}`],
    ["a block", filled(60_000, (n) => `k${n}: 1\n`)],
    ["one key again and again", filled(60_000, () => "a: 1\n")],
    ["one key again and again in a flow map", `{${filled(60_000, () => "a,")}}`],
    ["keys that are nearly right", filled(60_000, (n) => `${"replicas".repeat(5)}${n}: 1\n`)],
    ["aliases", withTop(`x: &a 1\ny: [${filled(60_000, () => "*a,")}]`)],
    ["an anchor and an alias in turn", withTop(`y: [${filled(60_000, (n) => `&a${n} 1,*a${n},`)}]`)],
    ["tags", `[${filled(60_000, () => "!x a,")}]`],
    ["commas", `{${",".repeat(60_000)}}`],
    ["quotes", '"'.repeat(60_000)],
    ["brackets", "[".repeat(60_000)],
    ["dashes", "- ".repeat(30_000)],
    [
      "environments",
      `env: {${filled(30_000, (n) => `A${n}: 1,`)}}\nenvironments: {${filled(30_000, (n) => `a${n}: {hostnames: [a${n}]},`)}}`,
    ],
    ["broken environments", `environments: {${filled(60_000, (n) => `a${n}: {hostname: [a]},`)}}`],
  ])("full of %s costs no more than its length does", (_what, text) => {
    expect(text.length).toBeGreaterThanOrEqual(60_000);
    let errors: ReturnType<typeof errorsOf> = [];
    const work = () => {
      errors = errorsOf(text);
    };
    expect(costOf(work, 2_000)).toBeLessThan(2_000);
    expect(errors.length).toBeLessThanOrEqual(51);
  });

  test("repeats no key, however it is written, at any depth", () => {
    const twice = `${MINIMAL}env:\n  A: "1"\n  "A": "2"\n`;
    expect(onlyError(twice)).toMatchObject({ code: "repeated_key", pointer: "env.A", line: 9 });
    expect(onlyError(withTop("env: { 1: a, '1': b }"))).toMatchObject({ pointer: "env.1" });
    expect(errorsOf(withTop("smoke: [{ path: /a, path: /b }, { path: /c }]"))).toMatchObject([
      { code: "repeated_key", pointer: "smoke.path" },
    ]);
  });

  test("has at most 100 environments and 500 variables", () => {
    const environments = Array.from({ length: 101 }, (_, n) => `  e${n}: { hostnames: [h${n}.example.com] }`);
    expect(onlyError(`${MINIMAL}${environments.join("\n")}\n`).detail).toContain("at most 100");
    const variables = Array.from({ length: 501 }, (_, n) => `A${n}: a`);
    expect(onlyError(withTop(`env: { ${variables.join(", ")} }`)).detail).toContain("at most 500 variables");
  });
});
