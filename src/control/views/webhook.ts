import type { DeliveryView, WebhookView } from "../../protocol/webhooks.ts";
import { iso, isoOrNull } from "../iso.ts";
import type { DeliveryRow } from "../store/notify/deliveries.ts";
import type { WebhookRow } from "../store/notify/webhooks.ts";

/** Whoever has an address of Slack's incoming webhooks can write to the channel: it is shown to nobody. */
export const shownUrl = (kind: WebhookRow["kind"], url: string): string =>
  kind === "slack" ? `${new URL(url).origin}/services/…` : url;

export const webhookView = (row: WebhookRow): WebhookView => ({
  id: row.id,
  kind: row.kind,
  url: row.url,
  app: row.app,
  environment: row.environment,
  events: row.events === null ? null : [...row.events],
  severity: row.severity,
  createdAt: iso(row.createdAt),
  createdBy: row.createdBy,
  disabledAt: isoOrNull(row.disabledAt),
  disabledCause: row.disabledCause,
});

export const deliveryView = (row: DeliveryRow): DeliveryView => ({
  id: row.id,
  type: row.type,
  event: row.eventId,
  state: row.state,
  attempts: row.attempts,
  createdAt: iso(row.createdAt),
  nextAttemptAt: row.state === "pending" ? iso(row.nextAttemptAt) : null,
  finishedAt: isoOrNull(row.finishedAt),
  status: row.status,
  error: row.error,
});
