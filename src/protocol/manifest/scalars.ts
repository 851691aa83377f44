import { z } from "zod";

/** The small values of a manifest: durations, sizes, paths, shares. */

const UNIT_MS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const UNIT_BYTES: Record<string, number> = { b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };

const DURATION = "must be a duration such as 250ms, 3s, 10m or 24h";
const YEAR_MS = 365 * 86_400_000;

/** `250ms`, `3s`, `10m`, `24h`, `7d` → milliseconds, at least `minMs` (said as `least`), at most a year. */
const durationFrom = (minMs: number, least: string) =>
  z
    .string({ error: DURATION })
    .regex(/^\d+(\.\d+)?(ms|s|m|h|d)$/, DURATION)
    .transform((text) => {
      const [, amount, unit] = /^([\d.]+)(\D+)$/.exec(text) ?? [];
      return Math.round(Number(amount) * (UNIT_MS[unit ?? ""] ?? Number.NaN));
    })
    .refine((ms) => ms >= minMs, `must be at least ${least}`)
    .refine((ms) => ms <= YEAR_MS, "must be at most 365d");
export const durationSchema = durationFrom(0, "0s");
/** The agent polls no faster, and gives no answer less time (`protocol/agent/check.ts`). */
export const checkDuration = durationFrom(50, "50ms");
export const deadline = durationFrom(1_000, "1s");

/** `512m`, `1g` → bytes. */
const SIZE = "must be a size such as 512m or 1g";
export const bytesSchema = z
  .string({ error: SIZE })
  // `256mb` and `256MiB` are what people write elsewhere; all of them count by 1024, as Docker does.
  .regex(/^\d+(\.\d+)?(b|[kmg](i?b)?)$/i, SIZE)
  .transform((text) => {
    const [, amount, unit] = /^([\d.]+)(.)/.exec(text) ?? [];
    return Math.round(Number(amount) * (UNIT_BYTES[unit?.toLowerCase() ?? ""] ?? Number.NaN));
  });

export const path = z.string().regex(/^\/\S*$/, "must be a path that starts with /");

/** `1%`, `0.5%` → a fraction. */
const RATE = "must be a percentage such as 1%";
export const rateSchema = z
  .string({ error: RATE })
  .regex(/^\d+(\.\d+)?%$/, RATE)
  .transform((text) => Number(text.slice(0, -1)) / 100)
  .refine((rate) => rate > 0 && rate < 1, "must be more than 0% and less than 100%");

/** Percent of traffic, at most two decimals. */
export const weightSchema = z
  .number({ error: "must be a number from 0 to 100" })
  .min(0)
  .max(100)
  .refine((percent) => Number.isInteger(Math.round(percent * 1e6) / 1e4), "must have at most two decimals");

const asList = (text: unknown) =>
  typeof text === "string" && /^[\w@%+:./= -]{1,200}$/.test(text)
    ? `[${text.trim().split(/ +/).join(", ")}]`
    : "[sh, -c, …]";
export const commandSchema = z
  .array(z.string({ error: "must be text" }), {
    error: ({ input }) => `must be a command as a list: ${asList(input)}`,
  })
  .min(1);

export const NAME = /^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/;
export const nameRule = (most: number) =>
  `must be 1–${most} of a-z, 0-9 and -, beginning and ending with a letter or digit`;
export const NAME_RULE = nameRule(40);
/** A Docker reference (registry, path, tag, digest), a local image id, or a directory for the process runtime. */
export const IMAGE =
  /^(?:file:.+|sha256:[0-9a-f]{64}|(?:[A-Za-z0-9.-]+(?::\d+)?\/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?)$/;

/** `discovery.type` is a variable of Elasticsearch's; shells can't set such, the engine can. */
export const envSchema = z
  .record(
    z.string().regex(/^[A-Za-z_][A-Za-z0-9_.-]*$/, "must be a name of letters, digits, _, . and -"),
    z.string({ error: "must be text" }),
  )
  .refine((env) => Object.keys(env).length <= 500, "must have at most 500 variables");
