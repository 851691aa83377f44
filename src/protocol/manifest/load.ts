import { z } from "zod";
import type { LoadSpec } from "../../domain/spec.ts";

/** Synthetic visits of an environment's releases (`load:`). */

const PATH = "must be a path such as /cart: one / first, no host, no spaces, no #, at most 200 characters";
const RATE = "must be requests a second or a minute such as 2/s or 30/m, from 1/m to 5/s";
const [LEAST_PER_S, MOST_PER_S] = [1 / 60, 5];

/** Printable ASCII as it goes on the wire. To a URL parser `//host` and `/\host` are another origin. */
const visitedPath = z
  .string({ error: PATH })
  .max(200, PATH)
  .regex(/^\/(?!\/)[!"$-[\]-~]*$/, PATH);

/** `2/s`, `30/m` → requests a second. */
const rate = z
  .string({ error: RATE })
  .regex(/^\d{1,4}(\.\d{1,3})?\/[sm]$/, RATE)
  .transform((text) => Number(text.slice(0, -2)) / (text.endsWith("m") ? 60 : 1))
  .refine((perS) => perS >= LEAST_PER_S && perS <= MOST_PER_S, RATE);

export const loadSchema = z.strictObject({
  paths: z
    .array(visitedPath)
    .min(1)
    .max(10)
    .refine((paths) => new Set(paths).size === paths.length, "names a path twice"),
  rate: rate.default(1),
  judge: z.boolean().default(false),
});

export const toLoad = ({ paths, rate: ratePerS, judge }: z.output<typeof loadSchema>): LoadSpec => ({
  paths,
  ratePerS,
  judge,
});
