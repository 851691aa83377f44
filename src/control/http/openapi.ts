import type { OpenAPIHono } from "@hono/zod-openapi";
import { z } from "zod";
import { problemSchema } from "../../protocol/problem.ts";
import type { AppEnv } from "./context.ts";

export interface Operation {
  readonly summary?: string;
  readonly description?: string;
  readonly tags?: readonly string[];
  readonly parameters?: readonly unknown[];
  readonly requestBody?: unknown;
  readonly security?: readonly unknown[];
  responses: Record<string, unknown>;
}
export interface OpenApiDocument {
  readonly openapi: string;
  readonly info: { readonly title: string; readonly version: string; readonly description?: string };
  readonly paths: Record<string, Record<string, Operation>>;
  readonly components: { schemas: Record<string, unknown> } & Record<string, unknown>;
}

const PROBLEM_ANSWER = {
  description: "Refused: RFC 9457 problem details with a stable `code` and what to do next",
  content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } },
};

/** The OpenAPI 3.1 description of every route, made from the same schemas that check its input. */
export function openApiDocument(app: OpenAPIHono<AppEnv>): OpenApiDocument {
  // The library's own type has each part optional; these parts are what it always makes.
  const made = app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Sluice",
      version: "1",
      description:
        "Zero-downtime releases of Docker apps on your own hosts. Times are ISO 8601 UTC, weights percent.",
    },
    security: [{ token: [] }],
  }) as unknown as OpenApiDocument;
  const document = structuredClone(made);
  document.components.schemas = { ...document.components.schemas, ...namedSchemas() };
  document.components.securitySchemes = { token: { type: "http", scheme: "bearer" } };
  for (const path of Object.values(document.paths))
    for (const operation of Object.values(path)) operation.responses.default ??= PROBLEM_ANSWER;
  return document;
}

/** What callers send: described as they may write it. All others as control answers them. */
const SENT = new Set([
  "CreateRelease",
  "Abort",
  "Promote",
  "Pause",
  "Resume",
  "Rollback",
  "Weights",
  "CreatePreview",
  "OpenPreview",
  "CreateLock",
  "CreateMaintenance",
  "CreateEnrollment",
  "CreateToken",
  "CreateTrust",
  "AllowHostname",
]);

/** Every schema with an id, by zod itself: the library's own rendering loses `null` beside a reference. */
function namedSchemas(): Record<string, unknown> {
  const uri = (id: string) => `#/components/schemas/${id}`;
  const [sent, answered] = (["input", "output"] as const).map(
    (io) => z.toJSONSchema(z.globalRegistry, { io, uri }).schemas,
  );
  const named = Object.keys(answered ?? {}).map((id) => {
    const { $schema, $id, ...schema } = (SENT.has(id) ? sent : answered)?.[id] ?? {};
    return [id, schema];
  });
  return { ...Object.fromEntries(named), Problem: plain(z.toJSONSchema(problemSchema)) };
}

const plain = ({ $schema, ...schema }: Record<string, unknown>) => schema;
