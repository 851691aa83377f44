import { z } from "zod";
import { time } from "./scalars.ts";

export const EVENT_TYPES = [
  "release.state",
  "release.progress",
  "release.approval",
  "instance.state",
  "traffic.weights",
  "traffic.alert",
  "worker.alert",
  "run.state",
  "scale.changed",
  "lock.changed",
  "traffic.mode",
  "app.applied",
  "app.ending",
  "app.destroyed",
  "environment.ending",
  "environment.destroyed",
  "host.enrolled",
  "host.removed",
  "host.tunnel",
  "host.rotated",
  "host.draining",
  "host.undrained",
  "hostname.routed",
  "hostname.granted",
  "hostname.revoked",
  "secret.set",
  "secret.removed",
  "registry.set",
  "registry.removed",
  "image.shipped",
  "secret.resealed",
  "accessory.state",
  "trust.added",
  "trust.pinned",
  "trust.removed",
  "token.traded",
  "webhook.added",
  "webhook.removed",
  "webhook.rotated",
  "webhook.replayed",
  "webhook.test",
  "webhook.disabled",
  "webhook.given_up",
  "people.allowed",
  "people.removed",
  "people.linked",
  "people.unlinked",
  "people.access",
  "audit.broken",
  "token.created",
  "token.revoked",
] as const;

/** One line of the audit log and of the event feed: the same object. SSE: `id` = id, `event` = type, `data` = all of it. */
export const eventSchema = z
  .object({
    id: z.number().int(),
    at: time,
    type: z.enum(EVENT_TYPES),
    actor: z.string(),
    app: z.string().nullable(),
    environment: z.string().nullable(),
    release: z.string().nullable(),
    /** One plain sentence. */
    message: z.string(),
    /** Facts, by type. `release.state`: {state, from, weight}; `instance.state`: {instance, host, slot, state, cause}. */
    data: z.record(z.string(), z.unknown()),
  })
  .meta({ id: "Event" });
export type EventView = z.infer<typeof eventSchema>;
