import type { z } from "zod";
import {
  type accessSchema,
  type allowPersonSchema,
  type GrantView,
  grantSchema,
  type linkPersonSchema,
  type PeopleView,
  peopleSchema,
} from "../../protocol/people.ts";
import { API, seg, type Wire } from "../wire.ts";

/** People who come through Cloudflare Access, and their accounts elsewhere. */
export class PeopleCalls {
  readonly #wire: Wire;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  list(): Promise<PeopleView> {
    return this.#wire.get(peopleSchema, `${API}/people`);
  }

  allow(grant: z.input<typeof allowPersonSchema>): Promise<GrantView> {
    return this.#wire.parsed(grantSchema, { method: "POST", path: `${API}/people/grants`, json: grant });
  }

  async remove(id: string): Promise<void> {
    await this.#wire.send({ method: "DELETE", path: `${API}/people/grants/${seg(id)}` });
  }

  async link(account: z.input<typeof linkPersonSchema>): Promise<void> {
    await this.#wire.send({ method: "PUT", path: `${API}/people/links`, json: account });
  }

  async unlink(identity: string): Promise<void> {
    await this.#wire.send({ method: "DELETE", path: `${API}/people/links/${seg(identity)}` });
  }

  /** Null: no Access application is believed any more. */
  async setAccess(access: z.input<typeof accessSchema> | null): Promise<void> {
    const path = `${API}/people/access`;
    if (access === null) await this.#wire.send({ method: "DELETE", path });
    else await this.#wire.send({ method: "PUT", path, json: access });
  }
}
