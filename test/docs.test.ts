import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { describe, expect, it } from "vitest";

/** What the pages point to is there: files of the house by their paths, other pages and their headings by links. */
const ROOT = resolve(import.meta.dirname, "..");
const pages = globSync(["*.md", "docs/*.md", "examples/*/README.md"], { cwd: ROOT }).filter(
  (page) => page !== "CHANGELOG.md",
);
const textOf = (page: string) => readFileSync(join(ROOT, page), "utf8");
const sources = globSync(["{src,agent,cli,local,browser,test,bench}/**/*.ts*", "examples/*/{,src/}*.ts"], {
  cwd: ROOT,
});
const scripts = Object.keys(JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).scripts);

/** A heading's anchor as GitHub makes it: of several that are alike, the first. */
const anchorOf = (heading: string) =>
  heading
    .toLowerCase()
    .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/[^\p{L}\p{N}\s_-]/gu, "")
    .trim()
    .replaceAll(" ", "-");

const withoutCode = (text: string) => text.replace(/^```[\s\S]*?^```/gm, "");
const anchorsIn = (page: string) =>
  [...withoutCode(textOf(page)).matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) => anchorOf(heading));

const isThere = (path: string) => sources.some((file) => file === path || file.endsWith(`/${path}`));
/** A block, or what stands behind two slashes that are not an address's. */
const COMMENT = /\/\*[\s\S]*?\*\/|(?<!:)\/\/.*$/gm;
const PATH = /(?<![\w./-])(?:[\w-]+\/)+[\w.-]+\.tsx?\b/g;

describe("what a page points to", () => {
  it.each(pages)("is there: %s", (page) => {
    const text = withoutCode(textOf(page));
    const links = [...text.matchAll(/\]\((?![a-z]+:)([^)\s]+)\)/g)].map(([, link = ""]) => link);
    const broken = links.filter((link) => {
      const [file = "", anchor] = link.split("#");
      const target = file === "" ? page : join(dirname(page), file);
      if (!existsSync(join(ROOT, target))) return true;
      return anchor !== undefined && target.endsWith(".md") && !anchorsIn(target).includes(anchor);
    });
    const named = [...text.matchAll(/`((?:[\w.-]+\/)+[\w.-]+\.tsx?)`/g)].map(([, path = ""]) => path);
    const lost = named.filter((path) => !isThere(path));
    const run = [...textOf(page).matchAll(/(?<!-- )\bnpm run ([\w:-]+)/g)].map(([, script = ""]) => script);
    const unknown = page.startsWith("examples/") ? [] : run.filter((script) => !scripts.includes(script));
    expect({ broken, lost, unknown }).toEqual({ broken: [], lost: [], unknown: [] });
  });
});

it("names no file in a comment that is gone", () => {
  const named = sources.flatMap((file) =>
    (textOf(file).match(COMMENT) ?? []).flatMap((comment) =>
      (comment.match(PATH) ?? []).map((path) => ({ file, path })),
    ),
  );
  expect(named.length).toBeGreaterThan(20);
  expect(named.filter(({ path }) => !isThere(path))).toEqual([]);
});
