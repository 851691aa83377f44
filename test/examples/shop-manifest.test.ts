import { readFile } from "node:fs/promises";
import path from "node:path";
import { expect, test } from "vitest";
import { parseManifest } from "../../src/protocol/manifest/manifest.ts";
import { toSpec } from "../../src/protocol/manifest/spec.ts";

const MANIFEST = path.resolve(import.meta.dirname, "../../examples/shop/sluice.yaml");

test("the shop's manifest is taken as it is, with its hooks, smoke checks and canary", async () => {
  const parsed = parseManifest(await readFile(MANIFEST, "utf8"));
  if (!parsed.ok) return expect.fail(JSON.stringify(parsed.errors));
  expect(toSpec(parsed.manifest, "production")).toMatchObject({
    hooks: { expand: ["node", "migrate.js", "expand"], contract: ["node", "migrate.js", "contract"] },
    smoke: [
      { path: "/health", status: 200, contains: '"status":"healthy"' },
      { path: "/", status: 200, contains: "Shop" },
    ],
    strategy: {
      kind: "canary",
      steps: [{ weightBp: 1_000 }, { weightBp: 5_000 }, { weightBp: 10_000 }],
      analysis: { enabled: true },
    },
  });
});
