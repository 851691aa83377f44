import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

/**
 * What may import what. The edge must carry traffic while control is broken or gone, and the domain must be testable
 * without a clock: each line here is a wall that keeps it so.
 */
const ROOT = resolve(import.meta.dirname, "..");
const HOUSE: { folder: string; may: string[]; packages: (string | RegExp)[] }[] = [
  { folder: "src/domain", may: ["src/domain"], packages: [] },
  { folder: "src/protocol", may: ["src/protocol", "src/domain"], packages: ["zod", "yaml"] },
  { folder: "src/edge", may: ["src/edge", "src/domain"], packages: [/^cloudflare:/] },
  { folder: "src/control/store", may: ["src/control/store", "src/domain"], packages: [/^drizzle-orm/] },
  {
    folder: "src/control",
    may: ["src/control", "src/domain", "src/protocol"],
    // The texts are what `npm run build:agent` writes for control to serve.
    packages: [
      /^hono/,
      "@hono/zod-openapi",
      "zod",
      "drizzle-orm",
      /^cloudflare[:/]/,
      "dist/agent.txt",
      "dist/install.txt",
    ],
  },
  { folder: "src/client", may: ["src/client", "src/protocol"], packages: ["zod", /^eventsource-parser/] },
  {
    folder: "cli",
    may: ["cli", "src/client", "src/protocol"],
    packages: [/^node:/, "commander", "zod", "yaml", /^cloudflare/, "smol-toml"],
  },
  {
    folder: "agent",
    may: ["agent", "src/protocol/agent.ts", "src/protocol/problem.ts", "package.json"],
    packages: [/^node:/, "commander", "ws", "yaml", "zod"],
  },
];

const IMPORT =
  /(?:^|\n)\s*(?:import|export)\s[^;]*?from\s+"([^"]+)"|\bimport\(\s*"([^"]+)"\s*\)|(?:^|\n)\s*import\s+"([^"]+)"/g;

interface Import {
  readonly from: string;
  readonly to: string;
}

const files = HOUSE.flatMap(({ folder }) => filesIn(join(ROOT, folder))).filter(
  (file, i, all) => all.indexOf(file) === i,
);

function filesIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return filesIn(path);
    return /\.(ts|tsx|js)$/.test(entry.name) ? [path] : [];
  });
}

function importsOf(file: string): Import[] {
  const from = relative(ROOT, file);
  return [...readFileSync(file, "utf8").matchAll(IMPORT)].map((match) => {
    const name = match[1] ?? match[2] ?? match[3] ?? "";
    return { from, to: name.startsWith(".") ? relative(ROOT, resolve(dirname(file), name)) : name };
  });
}

/** The rule of the innermost folder that holds the file. */
const ruleOf = (file: string) => HOUSE.find(({ folder }) => file.startsWith(`${folder}/`));
const isWithin = (path: string, place: string) => path === place || path.startsWith(`${place}/`);

function isAllowed({ from, to }: Import): boolean {
  const rule = ruleOf(from);
  if (!rule) return true;
  if (/\.(ts|tsx|js|json)$/.test(to)) return rule.may.some((place) => isWithin(to, place));
  return rule.packages.some((name) => (typeof name === "string" ? name === to : name.test(to)));
}

/** Code without comments and strings, so that a word in a sentence is no call. */
const codeOf = (file: string) =>
  readFileSync(file, "utf8")
    .replace(/\/\*[\s\S]*?\*\/|(?<!:)\/\/.*$/gm, "")
    .replace(/"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'/g, '""');

describe("the house", () => {
  it("has no import that its table does not allow", () => {
    const wrong = files.flatMap(importsOf).filter((one) => !isAllowed(one));
    expect(wrong.map(({ from, to }) => `${from} imports ${to}`)).toEqual([]);
  });

  it("would notice one", () => {
    expect(isAllowed({ from: "src/domain/routing/buckets.ts", to: "zod" })).toBe(false);
    expect(isAllowed({ from: "src/edge/forward.ts", to: "src/protocol/api.ts" })).toBe(false);
    expect(isAllowed({ from: "src/control/store/jobs.ts", to: "src/control/ids.ts" })).toBe(false);
    expect(isAllowed({ from: "src/control/app.ts", to: "src/edge/worker.ts" })).toBe(false);
    expect(isAllowed({ from: "agent/loop.ts", to: "src/protocol/api.ts" })).toBe(false);
    expect(isAllowed({ from: "src/client/client.ts", to: "src/domain/rollout/release.ts" })).toBe(false);
    expect(isAllowed({ from: "cli/main.ts", to: "src/client/index.ts" })).toBe(true);
  });

  it("reads every way to import", () => {
    const text =
      'import a from "x";\nimport {\n  b,\n} from "y";\nexport * from "z";\nimport "w";\nconst v = import("u");';
    const found = [...text.matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? match[3]);
    expect(found).toEqual(["x", "y", "z", "w", "u"]);
  });

  it("looks at every folder", () => {
    for (const { folder } of HOUSE)
      expect(files.some((file) => isWithin(relative(ROOT, file), folder))).toBe(true);
  });

  it.each([
    "Date.now",
    // A given time may be formatted; the present one may not be asked for.
    "new Date()",
    "Math.random",
    "crypto",
    "async",
    "await",
    "fetch(",
    "setTimeout",
    "console.",
  ])("keeps `%s` out of the domain", (word) => {
    const pattern = new RegExp(
      `(?<![\\w.])${word.replace(/[.()]/g, "\\$&")}${/\w$/.test(word) ? "\\b" : ""}`,
    );
    const guilty = filesIn(join(ROOT, "src/domain")).filter((file) => pattern.test(codeOf(file)));
    expect(guilty.map((file) => relative(ROOT, file))).toEqual([]);
  });
});
