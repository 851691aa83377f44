import { z } from "zod";
import {
  type createTrustSchema,
  type Explained,
  exchangedSchema,
  type exchangeSchema,
  explainedSchema,
  renewedSchema,
  type TrustView,
  trustSchema,
} from "../../protocol/api/trusts.ts";
import { API, seg, type Wire } from "../wire.ts";

export class TrustCalls {
  readonly #wire: Wire;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  async list(): Promise<TrustView[]> {
    return (await this.#wire.get(z.object({ items: z.array(trustSchema) }), `${API}/trusts`)).items;
  }

  add(trust: z.input<typeof createTrustSchema>): Promise<TrustView> {
    return this.#wire.parsed(trustSchema, { method: "POST", path: `${API}/trusts`, json: trust });
  }

  async remove(id: string): Promise<void> {
    await this.#wire.send({ method: "DELETE", path: `${API}/trusts/${seg(id)}` });
  }

  /** Where a CI system's token differs from each trust. */
  explain(token: string): Promise<Explained> {
    return this.#wire.parsed(explainedSchema, {
      method: "POST",
      path: `${API}/oidc/explain`,
      json: { token },
    });
  }

  /** Trades a CI system's token for one of control's. Needs no token of control's; a token counts once. */
  exchange(input: z.input<typeof exchangeSchema>): Promise<z.infer<typeof exchangedSchema>> {
    return this.#wire.parsed(exchangedSchema, { method: "POST", path: `${API}/oidc/exchange`, json: input });
  }

  /** Prolongs the token that this client was given by an exchange. */
  renew(): Promise<z.infer<typeof renewedSchema>> {
    return this.#wire.parsed(renewedSchema, { method: "POST", path: `${API}/oidc/renew`, json: {} });
  }
}
