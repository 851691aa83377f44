import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

/** What docs/faults.md promises is shown by tests that are there, under their names. */
const ROOT = join(import.meta.dirname, "..");
const text = await readFile(join(ROOT, "docs/faults.md"), "utf8");
const shown = [...text.matchAll(/`(test\/[^`]+\.test\.ts)` ((?:"[^"]+"(?:, )?)+)/g)].map(
  ([, file = "", names = ""]) => ({ file, names: [...names.matchAll(/"([^"]+)"/g)].map(([, name]) => name) }),
);

describe("docs/faults.md", () => {
  it("names a test for each fault", () => {
    const [faults = ""] = text.split("\n## Memory");
    const rows = faults.split("\n").filter((line) => line.startsWith("| ") && !line.startsWith("| when"));
    expect(rows.filter((row) => !/`test\/[^`]+`\s"/.test(row))).toEqual([]);
    expect(rows.length).toBeGreaterThan(40);
  });

  it("names none that is not there", async () => {
    const missing = await Promise.all(
      shown.map(async ({ file, names }) => {
        const source = await readFile(join(ROOT, file), "utf8").catch(() => "");
        return names.filter((name = "") => !source.includes(name)).map((name) => `${file}: ${name}`);
      }),
    );
    expect(missing.flat()).toEqual([]);
  });
});
