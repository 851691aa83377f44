import { html, raw } from "hono/html";
import { PROBLEM_CODES } from "../../protocol/problem.ts";
import type { OpenApiDocument, Operation } from "./openapi.ts";
import { statusOf } from "./problems.ts";

/** The API as one page to read: no script, nothing loaded from elsewhere. */
export function docsPage(document: OpenApiDocument) {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
  );
  const tags = [...new Set(operations.map(({ operation }) => operation.tags?.[0] ?? "other"))];
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${document.info.title} API</title>
<style>${raw(STYLE)}</style>
</head>
<body>
<header><h1>${document.info.title} API</h1><p>${document.info.description ?? ""} <a href="/api/openapi.json">openapi.json</a></p></header>
<main>
${tags.map(
  (tag) => html`<h2 id="${tag}">${tag}</h2>
${operations.filter(({ operation }) => (operation.tags?.[0] ?? "other") === tag).map(operationPart)}`,
)}
<h2 id="schemas">schemas</h2>
${Object.entries(document.components.schemas).map(
  ([
    name,
    schema,
  ]) => html`<details id="schema-${name}"><summary><b>${name}</b></summary>${code(schema)}</details>
`,
)}
<h2 id="problems">problems</h2>
<table><tr><th>code</th><th>status</th></tr>
${PROBLEM_CODES.map(
  (name) => html`<tr id="problem-${name}"><td><code>${name}</code></td><td>${statusOf(name)}</td></tr>
`,
)}</table>
</main>
</body>
</html>`;
}

const operationPart = (at: { path: string; method: string; operation: Operation }) => html`
<details><summary><b class="${at.method.toLowerCase()}">${at.method}</b> <code>${at.path}</code> ${at.operation.summary ?? ""}</summary>
<p>${at.operation.description ?? ""}</p>
${at.operation.parameters ? html`<h4>Parameters</h4>${code(at.operation.parameters)}` : ""}
${at.operation.requestBody ? html`<h4>Body</h4>${code(at.operation.requestBody)}` : ""}
<h4>Answers</h4>${code(at.operation.responses)}
</details>`;

/** JSON with its references as links. */
function code(value: unknown) {
  const parts = JSON.stringify(value, null, 2).split(/"#\/components\/schemas\/(\w+)"/);
  return html`<pre>${parts.map((part, i) => (i % 2 === 1 ? html`<a href="#schema-${part}">${part}</a>` : part))}</pre>`;
}

const STYLE = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { margin: 0 auto; max-width: 60rem; padding: 1rem }
h2 { margin: 2rem 0 .5rem; text-transform: capitalize }
details { border-bottom: 1px solid #8884; padding: .4rem 0 }
summary { cursor: pointer }
summary b { display: inline-block; min-width: 4.5rem }
.get { color: #2a7d4f } .post { color: #2b63b8 } .put { color: #a3650a } .delete { color: #b3372f }
pre { background: #8881; border-radius: 6px; overflow-x: auto; padding: .75rem; font-size: .85rem }
td, th { padding: .2rem 1rem .2rem 0; text-align: left }
`;
