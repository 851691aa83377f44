import { z } from "zod";
import {
  type ResealAnswer,
  resealAnswerSchema,
  type SecretView,
  type SetSecretAnswer,
  secretSchema,
  setSecretAnswerSchema,
} from "../../protocol/api/secrets.ts";
import { API, environmentPath, seg, type Wire } from "../wire.ts";

export class SecretCalls {
  readonly #wire: Wire;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  /** Names and versions; nobody gets a value back. */
  async list(app: string, environment: string): Promise<readonly SecretView[]> {
    const path = `${environmentPath(app, environment)}/secrets`;
    return (await this.#wire.get(z.object({ items: z.array(secretSchema) }), path)).items;
  }

  /** The same value again changes nothing. */
  set(
    at: { app: string; environment: string; name: string },
    value: string,
    { revokeOld = false } = {},
  ): Promise<SetSecretAnswer> {
    const path = `${environmentPath(at.app, at.environment)}/secrets/${seg(at.name)}`;
    const json = { value, ...(revokeOld ? { revokeOld } : {}) };
    return this.#wire.parsed(setSecretAnswerSchema, { method: "PUT", path, json });
  }

  async remove(at: { app: string; environment: string; name: string }): Promise<void> {
    const path = `${environmentPath(at.app, at.environment)}/secrets/${seg(at.name)}`;
    await this.#wire.send({ method: "DELETE", path });
  }

  /** Seals some of what lies under the key before with the present one: call again until nothing is `left`. */
  reseal(): Promise<ResealAnswer> {
    return this.#wire.parsed(resealAnswerSchema, { method: "POST", path: `${API}/secrets/reseal` });
  }
}
