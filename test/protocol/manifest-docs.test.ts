import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { manifestDocs } from "../../local/manifest-docs.ts";
import { troubleshootingDocs } from "../../local/troubleshooting-docs.ts";
import { keysOf, manifestJsonSchema } from "../../src/protocol/manifest/json-schema.ts";
import { WORDS } from "../../src/protocol/manifest/words.ts";

const docs = new URL("../../docs/", import.meta.url);
const keys = [...new Set(keysOf(manifestJsonSchema()).map(([key]) => key))];

test("every key of the manifest says what it is for, and nothing else does", () => {
  expect(keys.filter((key) => !WORDS.has(key))).toEqual([]);
  expect([...WORDS.keys()].filter((key) => !keys.includes(key))).toEqual([]);
});

test("docs/manifest.md and its JSON Schema are those of this schema (npm run docs)", () => {
  expect(readFileSync(new URL("manifest.md", docs), "utf8")).toBe(manifestDocs());
  expect(JSON.parse(readFileSync(new URL("manifest.schema.json", docs), "utf8"))).toEqual(
    manifestJsonSchema(),
  );
});

test("docs/troubleshooting.md is what `sluice explain` says (npm run docs)", () => {
  expect(readFileSync(new URL("troubleshooting.md", docs), "utf8")).toBe(troubleshootingDocs());
});

test("every example can be read", () => {
  for (const [key, { example }] of WORDS)
    if (example !== undefined) expect(() => parse(example), key).not.toThrow();
});
