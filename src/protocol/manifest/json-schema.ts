import { z } from "zod";
import { manifestSchema } from "./manifest.ts";
import { WORDS } from "./words.ts";

export type JsonSchema = z.core.JSONSchema.BaseSchema;

/**
 * The manifest as JSON Schema (draft 2020-12), with what each key is for: what an editor completes and marks. What is said
 * across keys (two environments with one hostname) only the parser knows.
 */
export function manifestJsonSchema(): JsonSchema {
  const schema = z.toJSONSchema(manifestSchema, { io: "input", unrepresentable: "any" });
  describeKeys(schema, "");
  // For the file's own use: anchors.
  return { ...schema, title: "sluice.yaml", patternProperties: { "^x-": {} } };
}

/** Every key below, with its dotted path; a name of the writer's own is `*`. */
export function keysOf(schema: JsonSchema, path = ""): [string, JsonSchema][] {
  const alternatives = [...(schema.anyOf ?? []), ...(schema.allOf ?? [])].filter(isSchema);
  const below = alternatives.flatMap((one) => keysOf(one, path));
  const own = Object.entries(schema.properties ?? {}).flatMap(([key, value]): [string, JsonSchema][] => {
    const at = path === "" ? key : `${path}.${key}`;
    return isSchema(value) ? [[at, value], ...keysOf(value, at)] : [];
  });
  const { additionalProperties: named, items } = schema;
  const under = isSchema(named) ? keysOf(named, `${path}.*`) : [];
  return [...below, ...own, ...under, ...(isSchema(items) ? keysOf(items, path) : [])];
}

function describeKeys(schema: JsonSchema, path: string): void {
  for (const [key, value] of keysOf(schema, path)) {
    const words = WORDS.get(key);
    if (!words) continue;
    value.description = words.default === undefined ? words.what : `${words.what} Default: ${words.default}.`;
    // In the parser's own units, as milliseconds: no value that could be written.
    if (typeof value.default !== "string" && typeof value.default !== "boolean") delete value.default;
  }
}

/** Not `true` or `false`, which have no keys. */
const isSchema = (value: unknown): value is JsonSchema =>
  typeof value === "object" && value !== null && !Array.isArray(value);
