import type { OpenAPIHono } from "@hono/zod-openapi";
import { z } from "zod";
import { problemSchema } from "../../protocol/problem.ts";
import type { AppEnv } from "./context.ts";

export interface Operation {
  operationId?: string;
  readonly summary?: string;
  readonly description?: string;
  readonly tags?: readonly string[];
  parameters?: readonly unknown[];
  requestBody?: unknown;
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
      license: { name: "MIT", url: "https://opensource.org/license/mit" },
    },
    // Of whoever serves this document.
    servers: [{ url: "/" }],
    security: [{ token: [] }],
  }) as unknown as OpenApiDocument;
  const document = structuredClone(made);
  document.components.schemas = { ...document.components.schemas, ...namedSchemas() };
  document.components.securitySchemes = { token: { type: "http", scheme: "bearer" } };
  for (const [path, methods] of Object.entries(document.paths))
    for (const [method, operation] of Object.entries(methods)) complete(operation, { method, path });
  return document;
}

/** What holds for every operation, so that no route has to say it. */
function complete(operation: Operation, at: { readonly method: string; readonly path: string }): void {
  operation.operationId = operationId(at);
  if (operation.requestBody) operation.requestBody = withoutDefaults(operation.requestBody);
  operation.responses["4XX"] ??= PROBLEM_ANSWER;
  operation.responses.default ??= PROBLEM_ANSWER;
  const named = JSON.stringify(operation.parameters ?? []);
  if (at.method !== "post" || !at.path.startsWith("/api/v1/") || /"idempotency-key"/i.test(named)) return;
  if (!WITHOUT_KEY.has(at.path)) operation.parameters = [...(operation.parameters ?? []), KEY];
}

/** What the caller is nobody yet for. */
const WITHOUT_KEY: ReadonlySet<string> = new Set(["/api/v1/oidc/exchange"]);
const KEY = {
  in: "header",
  name: "idempotency-key",
  required: false,
  schema: { type: "string" },
  description: "The same key and body again do nothing, and answer what the first answered",
};

/** `put` and `/api/v1/apps/{app}/envs/{env}/lock` → `putAppEnvLock`: a name that stays while the path does. */
function operationId({ method, path }: { readonly method: string; readonly path: string }): string {
  const parts = path
    .replace(/^\/api\/v1(?=\/)/, "")
    .split("/")
    .filter(Boolean);
  const words = parts.flatMap((part, index) => {
    const name = /^\{(\w+)\}$/.exec(part)?.[1];
    if (name !== undefined) return parts[index - 1]?.startsWith("{") ? [name] : [];
    return [parts[index + 1]?.startsWith("{") ? singular(part) : part];
  });
  return method + words.map(capital).join("");
}

const singular = (word: string) => word.replace(/ies$/, "y").replace(/s$/, "");
const capital = (word: string) =>
  word.replace(/(?:^|[^A-Za-z0-9]+)([A-Za-z0-9])/g, (_, letter: string) => letter.toUpperCase());

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
    return [id, SENT.has(id) ? withoutDefaults(schema) : schema];
  });
  return { ...Object.fromEntries(named), Problem: plain(z.toJSONSchema(problemSchema)) };
}

/**
 * What need not be sent, with its default in words: generators take a property that has a `default` for one that is always there,
 * and their callers would have to send it.
 */
function withoutDefaults(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withoutDefaults);
  if (typeof schema !== "object" || schema === null) return schema;
  const parts = Object.entries(schema).map(([key, part]) => [key, withoutDefaultsIn(key, part)] as const);
  const { default: value, ...rest } = Object.fromEntries(parts);
  if (value === undefined) return rest;
  const words = `By default \`${JSON.stringify(value)}\``;
  return { ...rest, description: rest.description ? `${rest.description}. ${words}` : words };
}

/** Under `properties` a name is nobody's keyword, not even one that is called `default`. */
const withoutDefaultsIn = (key: string, part: unknown): unknown =>
  key === "properties" && typeof part === "object" && part !== null
    ? Object.fromEntries(Object.entries(part).map(([name, schema]) => [name, withoutDefaults(schema)]))
    : withoutDefaults(part);

const plain = ({ $schema, ...schema }: Record<string, unknown>) => schema;
