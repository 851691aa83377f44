import { OpenAPIHono, z } from "@hono/zod-openapi";
import { nameSchema } from "../../protocol/api/scalars.ts";
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
  const errors = error.issues.slice(0, MOST_ERRORS).flatMap((issue) => {
    const keys = issue.code === "unrecognized_keys" ? issue.keys.slice(0, MOST_ERRORS) : [];
    const paths = keys.length > 0 ? keys.map((key) => [...issue.path, key]) : [issue.path];
    return paths.map((parts) => ({
      pointer: parts.map(token).join("").slice(0, MOST_CHARS),
      detail: issue.message.slice(0, MOST_CHARS),
    }));
  });
  const where = target === "json" ? "body" : target;
  const said = errors.map(({ pointer, detail }) => `${pointer || "(all of it)"}: ${detail}`).join("; ");
  return {
    code: "invalid_request" as const,
    detail: `the ${where} is not valid: ${said}`.slice(0, 2_000),
    errors: errors.slice(0, MOST_ERRORS),
  };
}

/** Of what is wrong with an input: its sender may be anybody, and is not sent all of it back. */
const MOST_ERRORS = 50;
const MOST_CHARS = 300;

/** One step of a JSON pointer (RFC 6901). */
const token = (part: PropertyKey) => `/${String(part).replaceAll("~", "~0").replaceAll("/", "~1")}`;

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

/** What a cursor was made from. `shape`: how this list's look; anything else would silently be some page or none. */
export function decodeCursor(cursor: string | undefined, shape: RegExp): string | null {
  if (cursor === undefined) return null;
  const after = decodeText(cursor);
  if (after !== undefined && shape.test(after) && encodeCursor(after) === cursor) return after;
  const detail = `\`${cursor}\` is not a cursor of this list: use \`nextCursor\` of the page before, unchanged`;
  throw new ProblemError({ code: "invalid_request", detail });
}

function decodeText(base64: string): string | undefined {
  try {
    return new TextDecoder().decode(fromBase64(base64));
  } catch {
    // Not base64: whatever it is, it is no cursor of ours.
    return undefined;
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
