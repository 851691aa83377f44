import type { DeliveryView, WebhookView } from "../../protocol/webhooks.ts";
import { iso, isoOrNull } from "../iso.ts";
import type { DeliveryRow } from "../store/notify/deliveries.ts";
import type { WebhookRow } from "../store/notify/webhooks.ts";

/** What lets in whoever has it is shown to nobody: a path of Slack's incoming webhooks, a query of a collector's. */
export function shownUrl(kind: WebhookRow["kind"], url: string): string {
  const { origin, pathname } = new URL(url);
  if (kind === "slack") return `${origin}/services/…`;
  return kind === "otlp" ? origin + pathname : url;
}

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
