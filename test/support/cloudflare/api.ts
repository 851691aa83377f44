import { z } from "zod";

/** What every file of the stand-in is made of: endpoints that check as Cloudflare's API does, and answer in its envelope. */

/** As the dashboard names it when a token is made: `Account › Cloudflare Tunnel › Edit`. */
export type Permission = `${"Account" | "Zone"} › ${string} › ${"Read" | "Edit"}`;

export interface Call {
  /** The path's parameters, by name. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  /** As the endpoint's schema parsed it. */
  readonly body: unknown;
  /** The parts of a multipart body. */
  readonly form: Form | undefined;
}

export type Form = Readonly<Record<string, string>>;

export interface Endpoint {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** `:name` is a parameter. */
  readonly path: string;
  readonly permission: Permission | null;
  /** Absent: no body, or one that is not read. */
  readonly body?: z.ZodType;
  /** Names that may be asked by, besides a list's paging. */
  readonly query?: readonly string[];
  /** A list: what `handle` answers is cut into pages of this many, at most `max`. */
  readonly pages?: { readonly size: number; readonly max: number };
  readonly handle: (call: Call) => unknown;
}

/** Cloudflare's refusal: HTTP status, its own code and words. */
export class Refusal extends Error {
  readonly status: number;
  readonly code: number;

  constructor(status: number, code: number, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export const notFound = (what: string): Refusal => new Refusal(404, 1003, `${what} not found`);

/** The body as its schema made it; the caller names the schema that its endpoint declares. */
export const bodyOf = <T>(call: Call, _schema: z.ZodType<T>): T => call.body as T;

export const envelope = (result: unknown, info?: unknown) => ({
  success: true,
  errors: [],
  messages: [],
  result,
  ...(info === undefined ? {} : { result_info: info }),
});

export const refused = ({ code, message }: { code: number; message: string }) => ({
  success: false,
  errors: [{ code, message }],
  messages: [],
  result: null,
});

/** One page of a list, with `result_info` as the API has it. */
export function page(items: readonly unknown[], of: NonNullable<Endpoint["pages"]>, query: Call["query"]) {
  const paging = z.object({
    page: z.coerce.number().int().min(1).default(1),
    per_page: z.coerce.number().int().min(1).max(of.max).default(of.size),
  });
  const asked = paging.safeParse({ page: query.page, per_page: query.per_page });
  if (!asked.success) throw new Refusal(400, 1004, `invalid paging: ${asked.error.issues[0]?.message}`);
  const { page, per_page } = asked.data;
  const result = items.slice((page - 1) * per_page, page * per_page);
  const info = {
    page,
    per_page,
    count: result.length,
    total_count: items.length,
    total_pages: Math.ceil(items.length / per_page),
  };
  return envelope(result, info);
}
