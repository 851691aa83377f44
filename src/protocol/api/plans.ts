import { z } from "zod";
import { accessorySchema } from "./accessories.ts";

export const priceSchema = z.object({
  /** Requests a second, and the share of them that fail; counted over so long. */
  traffic: z.object({ rate: z.number(), errorRate: z.number(), overMs: z.number().int() }),
  /** When a release with such a fault is gone, and its requests and failures until then. `afterMs` null: it is not found. */
  faults: z.array(
    z.object({
      what: z.string(),
      afterMs: z.number().int().nullable(),
      requests: z.number().int(),
      failed: z.number().int(),
      /** All of that as a sentence; empty: from a control of before. */
      words: z.string().default(""),
    }),
  ),
  /** In words, of each step: when a good release is proven, and what to change where it isn't. */
  says: z.array(z.string()),
});
export type PriceView = z.infer<typeof priceSchema>;

export const planSchema = z
  .object({
    instances: z.array(z.object({ host: z.string(), slot: z.number().int() })),
    steps: z.array(
      z.object({
        kind: z.enum(["weight", "pause", "analysis"]),
        /** Percent, of a weight step. */
        weight: z.number().optional(),
        /** How long the step lasts at least; null: until someone promotes. */
        forMs: z.number().int().nullable(),
        /** In words, e.g. `10 % for 15 m`. */
        label: z.string(),
      }),
    ),
    /** The least time until all traffic is on it, image pull and app boot apart; null: waits for a person. */
    atLeastMs: z.number().int().nullable(),
    hooks: z.array(
      z.object({ hook: z.enum(["expand", "contract"]), command: z.array(z.string()), when: z.string() }),
    ),
    replaces: z.object({ release: z.string(), version: z.string() }).nullable(),
    keepMs: z.number().int(),
    /** In words: what makes a rollback instant, slow or impossible. */
    rollback: z.string(),
    /** What would stop it before anything moves. Empty: it can start. */
    problems: z.array(z.object({ code: z.string(), detail: z.string() })),
    /** What a bad release would cost by the environment's usual traffic; null: nothing is known of that, or nothing is replaced. */
    price: priceSchema.nullable().default(null),
    /** In words: what control asks of it itself, by `load` of the manifest; null: nothing. */
    load: z.string().nullable().default(null),
    /** As they are; the release touches none of them. */
    accessories: z.array(accessorySchema).default([]),
  })
  .meta({ id: "Plan" });
export type PlanView = z.infer<typeof planSchema>;
export const MOVES = ["promote", "abort", "rollback"] as const;

/** What one move would do now: the very command on a copy of the state. */
export const movePlanSchema = z
  .object({
    move: z.enum(MOVES),
    possible: z.boolean(),
    /** Why it would be refused. */
    refusal: z.object({ code: z.string(), detail: z.string() }).nullable(),
    /** What would happen, in the words of the feed. */
    says: z.array(z.string()),
    /** The split after it, in percent, the newest release first. */
    split: z.array(z.object({ release: z.string(), version: z.string(), weight: z.number() })),
    /** Of a promote: what a bad release would cost on the steps to come; null: nothing is known of that. */
    price: priceSchema.nullable().default(null),
  })
  .meta({ id: "MovePlan" });
export type MovePlanView = z.infer<typeof movePlanSchema>;
