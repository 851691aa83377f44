import { z } from "zod";

/** The HTTP API's resources, `/api/v1`. Times are ISO 8601 UTC, weights are percent (25.5), durations end in Ms. */
export const time = z.iso.datetime();
export const nameSchema = z.string().regex(/^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/, "a-z, 0-9 and -");

/** A page of a list: opaque cursor, null at the end. */
export const pageOf = <T extends z.ZodType>(item: T) =>
  z.object({ items: z.array(item), nextCursor: z.string().nullable() });
