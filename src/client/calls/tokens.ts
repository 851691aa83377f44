import type { z } from "zod";
import {
  createdTokenSchema,
  type createTokenSchema,
  type TokenView,
  tokenSchema,
} from "../../protocol/api/tokens.ts";
import { API, type Page, type PageQuery, seg, type Wire } from "../wire.ts";

type CreateToken = z.input<typeof createTokenSchema>;
type CreatedToken = z.infer<typeof createdTokenSchema>;

export class TokenCalls {
  readonly #wire: Wire;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  list(page: PageQuery = {}): Promise<Page<TokenView>> {
    return this.#wire.page(tokenSchema, `${API}/tokens`, page);
  }

  create(body: CreateToken): Promise<CreatedToken> {
    return this.#wire.parsed(createdTokenSchema, { method: "POST", path: `${API}/tokens`, json: body });
  }

  async revoke(id: string): Promise<void> {
    await this.#wire.send({ method: "DELETE", path: `${API}/tokens/${seg(id)}` });
  }
}
