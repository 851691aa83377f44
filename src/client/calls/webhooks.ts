import { z } from "zod";
import { pageOf } from "../../protocol/api/scalars.ts";
import {
  createdWebhookSchema,
  type createWebhookSchema,
  type DeliveryView,
  deliverySchema,
  replayedSchema,
  rotatedSecretSchema,
  type WebhookView,
  webhookSchema,
} from "../../protocol/webhooks.ts";
import { API, type Page, type PageQuery, seg, type Wire } from "../wire.ts";

const AT = `${API}/webhooks`;

export class WebhookCalls {
  readonly #wire: Wire;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  async list(): Promise<readonly WebhookView[]> {
    return (await this.#wire.get(z.object({ items: z.array(webhookSchema) }), AT)).items;
  }

  /** The secret is in this answer and in no other. */
  add(target: z.input<typeof createWebhookSchema>): Promise<z.infer<typeof createdWebhookSchema>> {
    return this.#wire.parsed(createdWebhookSchema, { method: "POST", path: AT, json: target });
  }

  async remove(id: string): Promise<void> {
    await this.#wire.send({ method: "DELETE", path: `${AT}/${seg(id)}` });
  }

  deliveries(
    id: string,
    page: PageQuery,
    { failed = false }: { failed?: boolean } = {},
  ): Promise<Page<DeliveryView>> {
    const query = { cursor: page.cursor, limit: page.limit, ...(failed && { state: "failed" }) };
    const path = `${AT}/${seg(id)}/deliveries`;
    return this.#wire.parsed(pageOf(deliverySchema), { method: "GET", path, query });
  }

  /** One delivery, or all that were given up. Answers how many. */
  async replay(id: string, delivery?: string): Promise<number> {
    const path = `${AT}/${seg(id)}/replay`;
    const json = delivery === undefined ? {} : { delivery };
    return (await this.#wire.parsed(replayedSchema, { method: "POST", path, json })).replayed;
  }

  async test(id: string): Promise<void> {
    await this.#wire.send({ method: "POST", path: `${AT}/${seg(id)}/test` });
  }

  rotateSecret(id: string): Promise<z.infer<typeof rotatedSecretSchema>> {
    return this.#wire.parsed(rotatedSecretSchema, { method: "POST", path: `${AT}/${seg(id)}/secret` });
  }
}
