import { z } from "zod";
import { type HostnameGrantView, hostnameGrantSchema } from "../../protocol/api/hostnames.ts";
import { API, seg, type Wire } from "../wire.ts";

export class HostnameCalls {
  readonly #wire: Wire;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  /** Which hostnames an app may have. */
  async list(app: string): Promise<readonly HostnameGrantView[]> {
    const path = `${API}/apps/${seg(app)}/hostnames`;
    return (await this.#wire.get(z.object({ items: z.array(hostnameGrantSchema) }), path)).items;
  }

  allow(at: { app: string; pattern: string }, options: { claim?: boolean } = {}): Promise<HostnameGrantView> {
    const path = `${API}/apps/${seg(at.app)}/hostnames/${seg(at.pattern)}`;
    const json = { claim: options.claim ?? false };
    return this.#wire.parsed(hostnameGrantSchema, { method: "PUT", path, json });
  }

  async revoke(at: { app: string; pattern: string }): Promise<void> {
    const path = `${API}/apps/${seg(at.app)}/hostnames/${seg(at.pattern)}`;
    await this.#wire.send({ method: "DELETE", path });
  }
}
