import { createRoute, z } from "@hono/zod-openapi";
import { ProblemError } from "../../http/problems.ts";
import { newRouter } from "../../http/route-parts.ts";

const text = (type: string, description: string) => ({
  description,
  content: { [type]: { schema: z.string() } },
});

const index = createRoute({
  method: "get",
  path: "/llms.txt",
  summary: "What there is to read about Sluice, for programs that read (llmstxt.org)",
  tags: ["docs"],
  security: [],
  responses: { 200: text("text/plain", "Markdown: a link to each page of the documentation") },
});

const read = createRoute({
  method: "get",
  path: "/docs/{page}",
  summary: "A page of the documentation, of this very version",
  tags: ["docs"],
  security: [],
  request: { params: z.object({ page: z.string().max(64).describe("such as `releases.md`") }) },
  responses: { 200: text("text/markdown", "Markdown") },
});

/** The documentation as Markdown: the same for everybody, without a token. */
export const docsRoutes = () =>
  newRouter()
    .openapi(index, async (c) => {
      const lines = Object.entries(await readDocs()).map(([name, page]) => entry(name, page));
      return c.text([...HEAD, ...lines, ...FOOT].join("\n"), 200);
    })
    .openapi(read, async (c) => {
      const { page } = c.req.valid("param");
      const pages = await readDocs();
      const found = Object.hasOwn(pages, page) ? pages[page] : undefined;
      if (found !== undefined) return c.body(found, 200, { "content-type": "text/markdown; charset=utf-8" });
      throw new ProblemError({ code: "not_found", detail: "there is no such page: /llms.txt lists them" });
    });

/** Text by file name, as `npm run build:agent` packed it. */
async function readDocs(): Promise<Readonly<Record<string, string>>> {
  const { default: packed } = await import("../../../../dist/docs.txt");
  return z.record(z.string(), z.string()).parse(JSON.parse(packed));
}

const HEAD = [
  "# Sluice",
  "",
  "> Zero-downtime releases of Docker apps on people's own hosts, behind Cloudflare Tunnels: canaries judged by statistics, rollback in a second, no open port.",
  "",
  "## Docs",
  "",
];
const FOOT = [
  "",
  "## API",
  "",
  "- [OpenAPI](/api/openapi.json): every route and every shape",
  "- [Manifest schema](/api/manifest.schema.json): JSON Schema of sluice.yaml",
  "",
];

/** The page's heading, and the first sentence below it. */
function entry(name: string, page: string): string {
  const title = /^# (.+)$/m.exec(page)?.[1] ?? name;
  const [, first = ""] = /^#.*\n+([^\n#|`!-][^\n]*)/m.exec(page) ?? [];
  const [sentence = ""] = first.split(/(?<=[.:]) /);
  return `- [${title}](/docs/${name})${sentence === "" ? "" : `: ${sentence}`}`;
}
