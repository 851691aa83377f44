import { z } from "zod";
import { pageOf } from "../protocol/api/scalars.ts";
import { parseJson } from "../protocol/json.ts";
import { ProtocolError } from "./errors.ts";
import { type Answer, type Call, type ClientOptions, send } from "./transport.ts";

export interface Page<T> {
  readonly items: readonly T[];
  readonly nextCursor: string | null;
}
export interface PageQuery {
  readonly cursor?: string | undefined;
  readonly limit?: number | undefined;
}

export const API = "/api/v1";
export const seg = encodeURIComponent;
export const environmentPath = (app: string, environment: string) =>
  `${API}/apps/${seg(app)}/envs/${seg(environment)}`;

/** What every noun's calls go through: answers parsed by the protocol's schemas. */
export class Wire {
  readonly options: ClientOptions;

  constructor(options: ClientOptions) {
    this.options = options;
  }

  send(call: Call): Promise<Answer> {
    return send(this.options, call);
  }

  get<T extends z.ZodType>(schema: T, path: string): Promise<z.infer<T>> {
    return this.parsed(schema, { method: "GET", path });
  }

  page<T extends z.ZodType>(schema: T, path: string, page: PageQuery): Promise<Page<z.infer<T>>> {
    return this.parsed(pageOf(schema), {
      method: "GET",
      path,
      query: { cursor: page.cursor, limit: page.limit },
    });
  }

  async parsed<T extends z.ZodType>(schema: T, call: Call): Promise<z.infer<T>> {
    return parsed(schema, call, await this.send(call));
  }
}

/** An answer as its schema has it. Throws ProtocolError: that isn't Sluice, or not of this version. */
export function parsed<T extends z.ZodType>(schema: T, call: Call, answer: Answer): z.infer<T> {
  const read = schema.safeParse(parseJson(answer.text));
  if (read.success) return read.data;
  const what = `${call.method} ${call.path} answered ${answer.status}`;
  throw new ProtocolError(
    `${what}, but not what this version expects: ${z.prettifyError(read.error).slice(0, 500)}`,
  );
}
