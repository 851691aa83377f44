import type { DeliveryView, WebhookView } from "../../protocol/webhooks.ts";
import { authorize } from "../http/auth.ts";
import type { AppContext } from "../http/context.ts";
import { decodeCursor, toPage } from "../http/route-parts.ts";
import { everything } from "../identity/roles.ts";
import { requireWebhook } from "../routes/webhooks/target.ts";
import { listDeliveries } from "../store/notify/deliveries.ts";
import { deliveryView, webhookView } from "../views/webhook.ts";
import { page } from "./layout.tsx";
import { Ago, Name, State, scope, Table, type Tone, Until } from "./pieces.tsx";

const PER_PAGE = 50;

/** Who is told of events. */
export const Webhooks = ({ webhooks }: { webhooks: readonly WebhookView[] }) => (
  <Table
    label="Webhooks"
    stacks
    heads={["address", "state", "for", "events", "deliveries"]}
    none={
      <>
        Nobody is told: <code>sluice webhooks add</code> says how.
      </>
    }
  >
    {webhooks.map((webhook) => (
      <tr>
        <th scope="row" class="long">
          <code>{webhook.url}</code>
        </th>
        <td>
          <Told webhook={webhook} />
        </td>
        <td>{scope(webhook.app, webhook.environment)}</td>
        <td>{eventsOf(webhook)}</td>
        <td>
          <a href={`/ui/webhooks/${webhook.id}`}>its deliveries</a>
        </td>
      </tr>
    ))}
  </Table>
);

const Told = ({ webhook }: { webhook: WebhookView }) =>
  webhook.disabledAt === null ? (
    <State tone="ok">told</State>
  ) : (
    <>
      <State tone="bad">told no more</State>
      <div>
        <Name>{webhook.disabledCause ?? ""}</Name>
      </div>
    </>
  );

/** Of kinds that can't be told what to hear of. */
const OWN_EVENTS: { readonly [K in WebhookView["kind"]]?: string } = {
  otlp: "releases, as traces",
  github: "releases of its commits",
};

const eventsOf = ({ kind, events, severity }: WebhookView) =>
  OWN_EVENTS[kind] ??
  `${events === null ? "all" : events.join(", ")}${severity === "info" ? "" : `, from ${severity}`}`;

/** One target: what it was told, what it is still to be told, and how each try went. */
export async function webhookPage(c: AppContext): Promise<Response> {
  authorize(c, everything("admin"));
  const row = await requireWebhook(c);
  const webhook = webhookView(row);
  const after = decodeCursor(c.req.query("cursor"), /^\d{1,15}$/);
  const rows = await listDeliveries(c.var.db, {
    webhookId: row.id,
    before: after === null ? null : Number(after),
    limit: PER_PAGE + 1,
    failed: c.req.query("state") === "failed",
  });
  const as = { item: deliveryView, cursor: ({ eventId }: { eventId: number }) => String(eventId) };
  const { items, nextCursor } = toPage(rows, PER_PAGE, as);
  const now = c.var.now();
  const here = `/ui/webhooks/${row.id}`;
  return page(c, {
    title: "Deliveries · Sluice",
    section: "/ui/settings",
    children: (
      <>
        <p>
          <a href="/ui/settings">Settings</a>
        </p>
        <h1>Deliveries</h1>
        <p class="lead">
          <code>{webhook.url}</code>
        </p>
        <p>
          <Told webhook={webhook} />{" "}
          <span class="soft">
            {scope(webhook.app, webhook.environment)} · {eventsOf(webhook)}
          </span>
        </p>
        <p>
          <a href={here}>All</a> · <a href={`${here}?state=failed`}>Only given up ones</a>
        </p>
        <Deliveries deliveries={items} now={now} />
        {nextCursor && (
          <p>
            <a href={`${here}?cursor=${nextCursor}`}>Older</a>
          </p>
        )}
        <p class="soft">
          Send again what was given up: <code>sluice webhooks replay {row.id}</code>
        </p>
      </>
    ),
  });
}

const TONES = { delivered: "ok", failed: "bad", pending: "moving" } as const satisfies Record<
  DeliveryView["state"],
  Tone
>;

const Deliveries = ({ deliveries, now }: { deliveries: readonly DeliveryView[]; now: number }) => (
  <Table
    label="Deliveries"
    stacks
    nums={["tries"]}
    heads={["event", "state", "tries", "answer", "made", "next try"]}
    none="Nothing was sent yet."
  >
    {deliveries.map((one) => (
      <tr>
        <th scope="row">
          {one.type}
          <div class="soft">
            <code>{one.id}</code>
          </div>
        </th>
        <td>
          <State tone={TONES[one.state]}>{one.state === "failed" ? "given up" : one.state}</State>
        </td>
        <td class="num" data-label="tries">
          {one.attempts}
        </td>
        <td>
          {one.status ?? ""} <Name>{one.error ?? ""}</Name>
        </td>
        <td class="when">
          <Ago at={one.createdAt} now={now} />
        </td>
        <td class="when" data-label="next try">
          {one.nextAttemptAt !== null && <Until at={Date.parse(one.nextAttemptAt)} now={now} />}
        </td>
      </tr>
    ))}
  </Table>
);
