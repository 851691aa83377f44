import { z } from "zod";
import { type RegistryView, registrySchema } from "../../protocol/api/secrets.ts";
import { API, seg, type Wire } from "../wire.ts";

export class RegistryCalls {
  readonly #wire: Wire;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  /** An app's logins, without their passwords. */
  async list(app: string): Promise<readonly RegistryView[]> {
    const path = `${API}/apps/${seg(app)}/registries`;
    return (await this.#wire.get(z.object({ items: z.array(registrySchema) }), path)).items;
  }

  set(
    at: { app: string; registry: string },
    login: { username: string; password: string },
  ): Promise<RegistryView> {
    const path = `${API}/apps/${seg(at.app)}/registries/${seg(at.registry)}`;
    return this.#wire.parsed(registrySchema, { method: "PUT", path, json: login });
  }

  async remove(at: { app: string; registry: string }): Promise<void> {
    const path = `${API}/apps/${seg(at.app)}/registries/${seg(at.registry)}`;
    await this.#wire.send({ method: "DELETE", path });
  }
}
