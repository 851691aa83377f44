import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { parseSync } from "oxc-parser";
import { describe, expect, it } from "vitest";

/**
 * What may import what. The edge must carry traffic while control is broken or gone, and the domain must be testable
 * without a clock: each line here is a wall that keeps it so.
 */
const ROOT = resolve(import.meta.dirname, "..");
const HOUSE: { folder: string; may: string[]; packages: (string | RegExp)[] }[] = [
  // croner only reckons: it is given no function to call.
  { folder: "src/domain", may: ["src/domain"], packages: ["croner"] },
  // Small things for streams that others send, the same on both Workers.
  { folder: "src/streams", may: ["src/streams"], packages: [] },
  { folder: "src/protocol", may: ["src/protocol", "src/domain"], packages: ["zod", "yaml"] },
  {
    folder: "src/edge",
    may: ["src/edge", "src/streams", "src/domain/routing", "src/domain/result.ts"],
    packages: [/^cloudflare:/],
  },
  { folder: "src/control/store", may: ["src/control/store", "src/domain"], packages: [/^drizzle-orm/] },
  {
    folder: "src/control",
    // The last is a package that is named like a file.
    may: ["src/control", "src/domain", "src/protocol", "src/streams", "ipaddr.js"],
    // The texts are what `npm run build:agent` writes for control to serve.
    packages: [
      /^hono/,
      "@hono/zod-openapi",
      /^eventsource-parser/,
      "zod",
      "drizzle-orm",
      "jose",
      /^cloudflare[:/]/,
      "dist/agent.txt",
      "dist/install.txt",
      "dist/cli.txt",
      "dist/cli-install.txt",
      "dist/page-style.txt",
      "dist/page-script.txt",
      "dist/docs.txt",
    ],
  },
  { folder: "src/client", may: ["src/client", "src/protocol"], packages: ["zod", /^eventsource-parser/] },
  // What runs in a browser, beside pages that read without it.
  { folder: "browser", may: ["browser", "src/domain/times.ts"], packages: ["idiomorph"] },
  {
    folder: "cli",
    // The package's first lines load the bundle, and what Node 20 lacks.
    may: [
      "cli",
      "src/client",
      "src/domain/times.ts",
      "src/protocol",
      "src/domain/data-size.ts",
      "src/domain/state-words.ts",
      "package.json",
      "core-js/actual/map/group-by.js",
      "undici/lib",
    ],
    packages: [
      /^node:/,
      "commander",
      "zod",
      "yaml",
      /^cloudflare/,
      "smol-toml",
      "string-width",
      "string-argv",
      "tar-stream",
      "undici",
      "dist/cli/sluice.mjs",
    ],
  },
  {
    folder: "agent",
    // A policy's mistakes are named like a manifest's.
    may: [
      "agent",
      "src/protocol/agent",
      "src/protocol/address.ts",
      "src/protocol/images.ts",
      "src/protocol/interception.ts",
      "src/protocol/manifest/errors.ts",
      "src/protocol/problem.ts",
      "package.json",
    ],
    packages: [/^node:/, "commander", "ws", "yaml", "zod", "tar-stream", /^@sigstore\//],
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

/** What tries, times and shows the product may import any of it, and is kept in order like it. */
const around = ["bench", "local", "test"].flatMap((folder) => filesIn(join(ROOT, folder)));
const everything = [...files, ...around];

function filesIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return entry.name === "node_modules" ? [] : filesIn(path);
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

/** Groups of files that import each other, by whatever way around; types count, since a reader follows them too. */
function circlesIn(imports: ReadonlyMap<string, readonly string[]>): string[][] {
  const reach = new Map<string, Set<string>>();
  for (const file of imports.keys()) {
    const seen = new Set<string>();
    const open = [...(imports.get(file) ?? [])];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      if (seen.has(next)) continue;
      seen.add(next);
      open.push(...(imports.get(next) ?? []));
    }
    reach.set(file, seen);
  }
  const meet = (a: string, b: string) => reach.get(a)?.has(b) === true && reach.get(b)?.has(a) === true;
  const inCircle = [...imports.keys()].filter((file) => meet(file, file));
  return inCircle
    .map((file) => inCircle.filter((other) => meet(file, other)))
    .filter(([first], i) => first === inCircle[i]);
}

const MOST_FILES = 26;
const MOST_LINES = 400;
const MOST_FUNCTION_LINES = 60;
/** What a function that is a list of tests holds: it may be as long as the list. */
const TESTS = /^\s*(describe|it|\w*[tT]est)\b.*[(`]/m;

interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
}
const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && "type" in value && "start" in value;

/** A text's functions that have more lines than allowed: `<first line>: <lines>`. */
function longFunctions(name: string, text: string): string[] {
  const lineAt = (offset: number) => text.slice(0, offset).split("\n").length;
  const found: string[] = [];
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) return value.forEach(visit);
    if (!isNode(value)) return;
    const { type, start, end } = value;
    if (/^(Function(Declaration|Expression)|ArrowFunctionExpression)$/.test(type)) {
      const own = text.slice(start, end);
      const lines = own.split("\n").length;
      if (lines > MOST_FUNCTION_LINES && !TESTS.test(own))
        found.push(`${name}:${lineAt(start)} has ${lines} lines`);
    }
    Object.values(value).forEach(visit);
  };
  visit(parseSync(name, text).program);
  return found;
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
    expect(isAllowed({ from: "src/edge/forward.ts", to: "src/protocol/api/releases.ts" })).toBe(false);
    expect(isAllowed({ from: "src/edge/forward.ts", to: "src/domain/spec.ts" })).toBe(false);
    expect(isAllowed({ from: "src/control/store/jobs.ts", to: "src/control/ids.ts" })).toBe(false);
    expect(isAllowed({ from: "src/control/app.ts", to: "src/edge/worker.ts" })).toBe(false);
    expect(isAllowed({ from: "agent/loop.ts", to: "src/protocol/api/releases.ts" })).toBe(false);
    expect(isAllowed({ from: "cli/main.ts", to: "src/client/index.ts" })).toBe(true);
  });

  it("reads every way to import", () => {
    const text =
      'import a from "x";\nimport {\n  b,\n} from "y";\nexport * from "z";\nimport "w";\nconst v = import("u");';
    const found = [...text.matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? match[3]);
    expect(found).toEqual(["x", "y", "z", "w", "u"]);
  });

  it("has no import circle", () => {
    const imports = new Map(
      everything.map((file) => [relative(ROOT, file), importsOf(file).map(({ to }) => to)]),
    );
    expect(circlesIn(imports)).toEqual([]);
  });

  it("finds objects by one door alone, where the region is told", () => {
    const door = /\b(COORDINATOR|METER|HOST_LINK|LOG_RELAY|NOTIFIER|AUDITOR)\s*\.\w+\(/;
    const control = filesIn(join(ROOT, "src/control"));
    const others = control.filter((file) => door.test(codeOf(file)) && !file.endsWith("/objects.ts"));
    expect(others.map((file) => relative(ROOT, file))).toEqual([]);
  });

  it("would notice a circle, however long", () => {
    const ring = { a: ["b"], b: ["c"], c: ["a"], d: ["a"] };
    expect(circlesIn(new Map(Object.entries(ring)))).toEqual([["a", "b", "c"]]);
    expect(circlesIn(new Map([["a", ["b"]]]))).toEqual([]);
  });

  it("has no folder in which a file is hard to find", () => {
    const counts = Map.groupBy(everything, (file) => dirname(relative(ROOT, file)));
    const full = [...counts].filter(([, those]) => those.length > MOST_FILES);
    expect(full.map(([folder, { length }]) => `${folder} has ${length} files`)).toEqual([]);
  });

  it("has no file that takes more than a sitting to read", () => {
    const long = files.filter((file) => readFileSync(file, "utf8").split("\n").length - 1 > MOST_LINES);
    const names = long.map((file) => relative(ROOT, file));
    expect(names).toEqual([]);
  });

  it("has no function that doesn't fit on a screen", () => {
    const sources = everything.filter((file) => !file.endsWith(".js"));
    const long = sources.flatMap((file) => longFunctions(relative(ROOT, file), readFileSync(file, "utf8")));
    expect(long).toEqual([]);
  });

  it("would notice a long function", () => {
    const body = "  call();\n".repeat(MOST_FUNCTION_LINES);
    expect(longFunctions("a.ts", `const f = () => {\n${body}};`)).toEqual(["a.ts:1 has 62 lines"]);
    expect(longFunctions("a.ts", "const f = () => {\n};")).toEqual([]);
    expect(longFunctions("a.ts", `describe("f", () => {\n  it("calls", call);\n${body}});`)).toEqual([]);
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
