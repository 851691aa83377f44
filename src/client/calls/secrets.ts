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

interface Shelf {
  readonly app: string;
  readonly environment: string;
  readonly previews?: boolean | undefined;
}
const queryOf = (previews: boolean | undefined) => ({ previews: previews ? 1 : undefined });

export class SecretCalls {
  readonly #wire: Wire;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  /** Names and versions; nobody gets a value back. `previews`: of the environment's previews, here and below. */
  async list({ app, environment, previews }: Shelf): Promise<readonly SecretView[]> {
    const path = `${environmentPath(app, environment)}/secrets`;
    const call = { method: "GET", path, query: queryOf(previews) } as const;
    return (await this.#wire.parsed(z.object({ items: z.array(secretSchema) }), call)).items;
  }

  /** The same value again changes nothing. */
  set(
    at: Shelf & { name: string },
    value: string,
    { revokeOld = false }: { revokeOld?: boolean } = {},
  ): Promise<SetSecretAnswer> {
    const path = `${environmentPath(at.app, at.environment)}/secrets/${seg(at.name)}`;
    const json = { value, ...(revokeOld ? { revokeOld } : {}) };
    const query = queryOf(at.previews);
    return this.#wire.parsed(setSecretAnswerSchema, { method: "PUT", path, query, json });
  }

  async remove(at: Shelf & { name: string }): Promise<void> {
    const path = `${environmentPath(at.app, at.environment)}/secrets/${seg(at.name)}`;
    await this.#wire.send({ method: "DELETE", path, query: queryOf(at.previews) });
  }

  /** Seals some of what lies under the key before with the present one: call again until nothing is `left`. */
  reseal(): Promise<ResealAnswer> {
    return this.#wire.parsed(resealAnswerSchema, { method: "POST", path: `${API}/secrets/reseal` });
  }
}
