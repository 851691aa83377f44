import { OpenAPIHono, z } from "@hono/zod-openapi";
import { nameSchema } from "../../protocol/api.ts";
import { fromBase64, toBase64Url } from "../bytes.ts";
import type { AppEnv } from "./context.ts";
import { ProblemError } from "./problems.ts";

/** A router whose routes are also the OpenAPI document. Input that does not fit becomes one problem with every error in it. */
export const newRouter = () =>
  new OpenAPIHono<AppEnv>({
    defaultHook: (result) => {
      if (!result.success) throw new ProblemError(invalidInput(result.target, result.error));
    },
  });

/** What zod found wrong with a body, a query, a path: each with its JSON pointer. */
function invalidInput(target: string, error: z.ZodError) {
  const errors = error.issues.flatMap((issue) => {
    const path =
      issue.code === "unrecognized_keys" ? issue.keys.map((key) => [...issue.path, key]) : [issue.path];
    return path.map((parts) => ({
      pointer: parts.map((part) => `/${String(part).replaceAll("~", "~0").replaceAll("/", "~1")}`).join(""),
      detail: issue.message,
    }));
  });
  const where = target === "json" ? "body" : target;
  const said = errors.map(({ pointer, detail }) => `${pointer || "(all of it)"}: ${detail}`).join("; ");
  return {
    code: "invalid_request" as const,
    detail: `the ${where} is not valid: ${said}`.slice(0, 2_000),
    errors,
  };
}

export const json = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: { "application/json": { schema } },
});
export const body = <T extends z.ZodType>(schema: T) => ({
  required: true,
  content: { "application/json": { schema } },
});

export const appParams = z.object({ app: nameSchema });
export const environmentParams = z.object({ app: nameSchema, env: nameSchema });
export const releaseParams = z.object({ id: z.string().min(1).max(64) });

export const dryRunQuery = z.object({
  dryRun: z.enum(["0", "1"]).optional().describe("1: answer what would happen, change nothing"),
});
export const pageQuery = (max: number, usual: number) =>
  z.object({
    limit: z.coerce
      .number()
      .int()
      .min(1)
      .max(1_000)
      .default(usual)
      .transform((limit) => Math.min(limit, max)),
    cursor: z.string().max(200).optional().describe("`nextCursor` of the page before"),
  });

/** Cursors are opaque to clients: where the page before ended, in base64url. */
const encodeCursor = (after: string): string => toBase64Url(new TextEncoder().encode(after));

export function decodeCursor(cursor: string | undefined): string | null {
  if (cursor === undefined) return null;
  try {
    return new TextDecoder().decode(fromBase64(cursor));
  } catch {
    // Not base64: whatever it is, it is no cursor of ours.
    throw new ProblemError({
      code: "invalid_request",
      detail: `\`${cursor}\` is not a cursor: use \`nextCursor\` of the page before, unchanged`,
    });
  }
}

/** One page out of a list that was read one row longer than the page. */
export function toPage<Row, Item>(
  rows: readonly Row[],
  limit: number,
  as: { item: (row: Row) => Item; cursor: (row: Row) => string },
): { items: Item[]; nextCursor: string | null } {
  const page = rows.slice(0, limit);
  const last = page.at(-1);
  const more = rows.length > limit && last !== undefined;
  return { items: page.map(as.item), nextCursor: more ? encodeCursor(as.cursor(last)) : null };
}
