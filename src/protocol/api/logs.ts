import { z } from "zod";

/** An environment's log lines as its readers get them: `GET /api/v1/apps/{app}/envs/{env}/logs`, server-sent events. */

/** Most instances whose place is kept over a lost connection: it travels in a header. */
export const MAX_PLACES = 150;

const durationUnits = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** `10m` before `now`, or an ISO time; as epoch ms. Undefined: neither. */
export function parseSince(text: string, now: number): number | undefined {
  const [, count, unit] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  if (count !== undefined) return now - Number(count) * durationUnits[unit as keyof typeof durationUnits];
  const at = /^\d{4}-\d\d-\d\dT/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? undefined : at;
}

export const logsQuerySchema = z.object({
  follow: z.enum(["0", "1"]).default("0").describe("1: go on with what is written from now on"),
  release: z.string().max(128).optional().describe("only instances of this release (id or version)"),
  host: z.string().max(128).optional().describe("only of this host"),
  accessory: z.string().max(128).optional().describe("an accessory's lines instead of the instances'"),
  run: z.string().max(64).optional().describe("a run's lines instead of the instances'"),
  since: z.string().max(40).optional().describe("only lines since then: `10m`, or an ISO time"),
  tail: z.coerce
    .number()
    .int()
    .min(0)
    .max(10_000)
    .optional()
    .describe("so many last lines of each instance (default 100; with `since` all)"),
});

export const logLineViewSchema = z.object({
  at: z.iso.datetime(),
  host: z.string(),
  /** Its id, or the accessory's. */
  instance: z.string(),
  /** Empty: of an accessory. */
  version: z.string(),
  stream: z.enum(["stdout", "stderr"]),
  text: z.string(),
});
export type LogLineView = z.infer<typeof logLineViewSchema>;

/** Some lines in the order they were written. The event's id is the place behind them. */
export const logLinesSchema = z.object({ lines: z.array(logLineViewSchema) });
/** Lines that nobody will see: they were rotated away before they could be read. */
export const logGapSchema = z.object({ host: z.string(), bytes: z.number().int(), message: z.string() });
export const logHostSchema = z.object({
  host: z.string(),
  /** `trouble`: it answers, and says what is in the way. `silent`: it doesn't. */
  state: z.enum(["joined", "silent", "offline", "trouble", "ended"]),
  message: z.string(),
});
/** There will be no more, and no reason to come back. */
export const logEndSchema = z.object({
  /** Names of the hosts that have instances, and of those that sent all they have. */
  hosts: z.array(z.string()),
  answered: z.array(z.string()),
  message: z.string(),
});
export type LogHostView = z.infer<typeof logHostSchema>;
export type LogGapView = z.infer<typeof logGapSchema>;
export type LogEndView = z.infer<typeof logEndSchema>;
