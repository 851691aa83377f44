/** A tab in a real browser, of a real Vite build, that loads a part of itself after two releases have come. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import type { RequestListener } from "node:http";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { build } from "vite";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { RoutingTable } from "../../src/domain/routing/table.ts";
import { type Origin, startOrigin } from "../support/apps/origin.ts";
import { type OpenBrowser, openBrowser } from "../support/browser.ts";
import { type EdgeStack, startEdgeStack } from "../support/stack/edge-stack.ts";
import { releaseOf, tableOf } from "../support/tables.ts";

const VERSIONS = [1, 2, 3] as const;
const HOST = "127.0.0.1";
const CLOCK = "x-test-clock";
let root: string;
let edge: EdgeStack;
let browser: OpenBrowser;
let table: RoutingTable;
const origins: Origin[] = [];
const TYPES: Record<string, string> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
};

/** A page with a button that loads `late.js` and its styles, which no visitor of `version` has loaded before. */
async function buildApp(version: number): Promise<string> {
  const app = join(root, `v${version}`);
  await mkdir(app, { recursive: true });
  const files = {
    "index.html": `<h1>v${version}</h1><button>more</button><script type="module" src="/main.js"></script>`,
    "main.js": `document.querySelector("button").onclick = async () => {
      const { text } = await import("./late.js");
      document.querySelector("button").replaceWith(text);
    };`,
    "late.js": `import "./late.css"; import { deep } from "./deep.js"; export const text = "late of v${version}, " + (await deep());`,
    "late.css": `h1 { color: rgb(${version}, 0, 0) }`,
    "deep.js": `export const deep = async () => (await import("./deeper.js")).text;`,
    "deeper.js": `export const text = "deeper of v${version}";`,
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(app, name), text);
  await build({ root: app, logLevel: "silent", build: { outDir: "dist", assetsInlineLimit: 0 } });
  return join(app, "dist");
}

/** A single-page app's server: whatever it has not is its page. */
const serverOf =
  (dist: string): RequestListener =>
  async (request, response) => {
    const path = (request.url ?? "/").split("?")[0] ?? "/";
    const file = await readFile(join(dist, path)).catch(() => null);
    const type = file === null ? ".html" : extname(path);
    const headers = {
      "content-type": TYPES[type] ?? "application/octet-stream",
      "cache-control": "no-cache",
    };
    response.writeHead(200, headers).end(file ?? (await readFile(join(dist, "index.html"))));
  };

/** The release that serves; nothing else runs. */
async function release(version: number): Promise<void> {
  table = tableOf([], {
    version,
    hostnames: [HOST],
    releases: [releaseOf(`r${version}`, 10_000, [origins[version - 1]?.url ?? ""])],
    stable: `r${version}`,
    assets: { also: [], from: [`r${version}`] },
  });
  await edge.setAhead(version * 5_000);
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "sluice-vite-"));
  for (const version of VERSIONS)
    origins.push(await startOrigin(`v${version}`, serverOf(await buildApp(version))));
  edge = await startEdgeStack(
    { table: () => ({ kind: "table", table }), meter: () => {} },
    { clockHeader: CLOCK },
  );
  browser = await openBrowser();
});
afterAll(async () => {
  await browser?.close();
  await edge?.dispose();
  await Promise.all(origins.map((origin) => origin.stop()));
  await rm(root, { recursive: true, force: true });
});

it("works, though nobody had loaded that part before its release was gone", async () => {
  await release(1);
  const page = await (await browser.person()).newPage();
  await page.goto(`http://${HOST}:${edge.ports[0]}/`);
  const seen = () => origins[0]?.seen.map(({ url }) => url) ?? [];
  await expect.poll(() => seen().some((url) => url?.includes("deeper"))).toBe(true);
  for (const version of [2, 3]) {
    await release(version);
    await page.request.get(page.url());
  }
  await origins[0]?.stop();
  await page.getByRole("button").click();
  await page.getByText("late of v1, deeper of v1").waitFor();
  const color = await page.evaluate("getComputedStyle(document.querySelector('h1')).color");
  expect(color).toBe("rgb(1, 0, 0)");
});
