import { z } from "zod";
import { hostFactsSchema } from "../agent/host-facts.ts";
import { instanceSchema } from "./instances.ts";
import { time } from "./scalars.ts";

export const hostSchema = z
  .object({
    id: z.string(),
    name: z.string(),
    labels: z.record(z.string(), z.string()),
    runtime: z.string(),
    agentVersion: z.string(),
    state: z.enum(["online", "offline", "removed"]),
    lastSeenAt: time.nullable(),
    /** Host clock minus control's, as of the last poll. */
    clockSkewMs: z.number().int().nullable(),
    /** What the host says of itself; null until its agent has polled. */
    facts: hostFactsSchema.nullable(),
    factsAt: time.nullable(),
    /** A new token was asked for and is not in use yet. */
    rotateAt: time.nullable(),
    /** When two machines were last seen to use its token; null: never. */
    sharedAt: time.nullable().default(null),
    /** When a token that was its before was last tried; null: never. */
    staleTokenAt: time.nullable().default(null),
    slots: z.object({
      total: z.number().int(),
      used: z.number().int(),
      reserved: z.number().int(),
      free: z.number().int(),
    }),
    /** It is to be emptied, by whom and since when; done when `instances`, `workers` and `runs` are empty. Null: it is not. */
    drain: z.object({ at: time, by: z.string() }).nullable().default(null),
    /** Slots whose port somebody else on the host has, in words, and when they are tried again. */
    aside: z
      .array(z.object({ slot: z.number().int(), port: z.number().int(), cause: z.string(), until: time }))
      .default([]),
    instances: z.array(instanceSchema),
    accessories: z
      .array(z.object({ app: z.string(), environment: z.string(), name: z.string(), state: z.string() }))
      .default([]),
    /** Of processes beside the web. */
    workers: z
      .array(
        z.object({
          id: z.string(),
          app: z.string(),
          environment: z.string(),
          version: z.string(),
          process: z.string(),
          state: z.string(),
        }),
      )
      .default([]),
    /** On their way to an end: the hook's name, the scheduled process's, or `a command` of a person. */
    runs: z
      .array(z.object({ app: z.string(), environment: z.string(), version: z.string(), what: z.string() }))
      .default([]),
    /** At Cloudflare; null: the edge reaches this host by its own address. */
    tunnel: z
      .object({
        state: z.enum(["pending", "ready", "removing", "removed"]),
        /** Why it is not done yet, in words. */
        cause: z.string().nullable(),
        name: z.string(),
        id: z.string().nullable(),
        /** Of the ingress rules that were written last. */
        configVersion: z.number().int().nullable(),
        nextAttemptAt: time.nullable(),
      })
      .nullable()
      .default(null),
    createdAt: time,
  })
  .meta({ id: "Host" });
export type HostView = z.infer<typeof hostSchema>;

export const rotatedTunnelSchema = z
  .object({ host: z.string(), rev: z.number().int() })
  .meta({ id: "RotatedTunnel" });
export type RotatedTunnelView = z.infer<typeof rotatedTunnelSchema>;
