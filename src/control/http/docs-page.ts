import { html, raw } from "hono/html";
import { PROBLEM_EXPLANATIONS } from "../../protocol/explanations.ts";
import { PROBLEM_CODES } from "../../protocol/problem.ts";
import type { OpenApiDocument, Operation } from "./openapi.ts";
import { statusOf } from "./problems.ts";

interface Described {
  readonly path: string;
  readonly method: string;
  readonly operation: Operation;
}

/** The API as one page to read: no script, nothing loaded from elsewhere. */
export function docsPage(document: OpenApiDocument) {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
  );
  // What agents ask is nothing that a person begins with.
  const groups = [...Map.groupBy(operations, tagOf)].toSorted(
    ([a], [b]) => Number(a === "agent") - Number(b === "agent"),
  );
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${document.info.title} API</title>
<style>${raw(STYLE)}</style>
</head>
<body>
<header><h1>${document.info.title} API</h1><p>${document.info.description ?? ""} <a href="/api/openapi.json">openapi.json</a></p>
<nav><a href="#authentication">authentication</a> ${groups.map(([tag]) => html`<a href="#${tag}">${tag}</a> `)}
<a href="#schemas">schemas</a> <a href="#problems">problems</a></nav></header>
<main>
${AUTHENTICATION}
${groups.map(([tag, members]) => html`<h2 id="${tag}">${tag}</h2>${members.map(operationPart)}`)}
<h2 id="schemas">schemas</h2>
${Object.entries(document.components.schemas).map(
  ([name, schema]) =>
    html`<details id="schema-${name}"><summary><b>${name}</b></summary>${code(schema)}</details>
`,
)}
<h2 id="problems">problems</h2>
<p>What is refused is <a href="#schema-Problem">problem details</a> (RFC 9457). Its <code>code</code> stays what it is, and its
<code>next</code> are commands to go on with. <code>sluice explain &lt;code&gt;</code> says the same as this table.</p>
<table><tr><th>code</th><th>status</th><th>what it means, and what to do</th></tr>
${PROBLEM_CODES.map((name) => {
  const [meaning, advice] = PROBLEM_EXPLANATIONS[name];
  return html`<tr id="problem-${name}"><td><code>${name}</code></td><td>${statusOf(name)}</td><td>${meaning} ${advice}</td></tr>
`;
})}</table>
</main>
</body>
</html>`;
}

const AUTHENTICATION = html`<h2 id="authentication">authentication</h2>
<p>Each call carries a token; <code>sluice token create &lt;name&gt; --role viewer</code> makes one, and an agent has its own from its
enrolment. A CI job needs none that is stored: it trades its identity at
<a href="#postOidcExchange"><code>/api/v1/oidc/exchange</code></a>.</p>
<pre>export SLUICE_URL=https://control.example.com SLUICE_TOKEN=slu_…
curl -H "Authorization: Bearer $SLUICE_TOKEN" "$SLUICE_URL/api/v1/apps"</pre>
<p>A POST that carries an <code>Idempotency-Key</code> may be sent again: the same key and body again do nothing, and are answered as
the first was. A list's <code>nextCursor</code> is the <code>cursor</code> of its next page.</p>`;

const tagOf = ({ operation }: Described): string => operation.tags?.[0] ?? "other";

const operationPart = (at: Described) => {
  const { parameters, requestBody, responses, operationId, summary, description } = at.operation;
  const { required = false, description: about } = (requestBody ?? {}) as Body & { required?: boolean };
  return html`
<details id="${operationId}"><summary><b class="${at.method.toLowerCase()}">${at.method}</b> <code>${at.path}</code> ${summary ?? ""}
<a href="#${operationId}" aria-label="link to this call">#</a></summary>
${description ? html`<p>${description}</p>` : ""}
<pre>${curlOf(at)}</pre>
${parameters?.length ? html`<h4>Parameters</h4>${parameterTable(parameters as readonly Parameter[])}` : ""}
${requestBody ? html`<h4>Body${required ? "" : ", may be left out"}</h4>${about ?? ""} ${contentOf(requestBody as Body)}` : ""}
<h4>Answers</h4><table>${Object.entries(responses as Record<string, Body>).map(
    ([status, answer]) =>
      html`<tr><td><code>${status}</code></td><td>${answer.description ?? ""}</td><td>${contentOf(answer)}</td></tr>`,
  )}</table>
</details>`;
};

/** As it runs with the variables of the section on authentication; what stands in `{}` is the caller's. */
function curlOf({ path, method, operation: { requestBody, security } }: Described): string {
  const [type] = Object.keys((requestBody as Body | undefined)?.content ?? {});
  return [
    "curl",
    ...(method === "GET" ? [] : [`-X ${method}`]),
    ...(security?.length === 0 ? [] : ['-H "Authorization: Bearer $SLUICE_TOKEN"']),
    ...(type === undefined ? [] : [`-H "Content-Type: ${type}" -d @body`]),
    `"$SLUICE_URL${path}"`,
  ].join(" ");
}

interface Parameter {
  readonly in: string;
  readonly name: string;
  readonly required?: boolean;
  readonly description?: string;
  readonly schema?: unknown;
}
interface Body {
  readonly description?: string;
  readonly content?: Readonly<Record<string, { readonly schema?: unknown }>>;
}

const parameterTable = (parameters: readonly Parameter[]) =>
  html`<table>${parameters.map(
    (one) => html`<tr><td><code>${one.name}</code></td><td>${one.in}${one.required ? ", required" : ""}</td>
<td>${one.description ?? ""} ${one.schema ? code(one.schema) : ""}</td></tr>`,
  )}</table>`;

const contentOf = ({ content = {} }: Body) =>
  Object.entries(content).map(
    ([type, { schema }]) => html`<code>${type}</code> ${schema === undefined ? "" : code(schema)}`,
  );

/** A schema: a reference as its link, a plain one in a line, others as JSON. */
function code(schema: unknown) {
  const parts = JSON.stringify(schema, null, 2).split(/"#\/components\/schemas\/(\w+)"/);
  if (/^\{\s*"\$ref": $/.test(parts[0] ?? "") && parts.length === 3)
    return html`<a href="#schema-${parts[1]}">${parts[1]}</a>`;
  const text = html`${parts.map((part, i) => (i % 2 === 1 ? html`<a href="#schema-${part}">${part}</a>` : part))}`;
  return parts.length === 1 && JSON.stringify(schema).length < 120
    ? html`<code>${JSON.stringify(schema)}</code>`
    : html`<pre>${text}</pre>`;
}

const STYLE = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { margin: 0 auto; max-width: 60rem; padding: 1rem }
nav a { margin-right: .8rem }
h2 { margin: 2rem 0 .5rem; text-transform: capitalize }
details { border-bottom: 1px solid #8884; padding: .4rem 0 }
summary { cursor: pointer }
summary b { display: inline-block; min-width: 4.5rem }
.get { color: #2a7d4f } .post { color: #2b63b8 } .put { color: #a3650a } .delete { color: #b3372f }
:target { background: #fd82 }
pre { background: #8881; border-radius: 6px; overflow-x: auto; padding: .75rem; font-size: .85rem; margin: .3rem 0 }
table { border-collapse: collapse; max-width: 100% }
td, th { padding: .2rem 1rem .2rem 0; text-align: left; vertical-align: top }
td code { overflow-wrap: anywhere }
`;
