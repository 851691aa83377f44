import { z } from "zod";
import {
  type ClosedPreview,
  closedPreviewSchema,
  type OpenedPreview,
  type OpenPreview,
  openedPreviewSchema,
  type PullPreview,
  pullPreviewSchema,
} from "../../protocol/api/previews/pulls.ts";
import { API, seg, type Wire } from "../wire.ts";

export class PreviewCalls {
  readonly #wire: Wire;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  /** Opens a pull request's preview, or renews it. The same key and body again answer the same release, so this one is retried. */
  open(at: { app: string; idempotencyKey: string }, body: OpenPreview): Promise<OpenedPreview> {
    const { app, idempotencyKey } = at;
    return this.#wire.parsed(openedPreviewSchema, {
      method: "POST",
      path: pathOf(app),
      json: body,
      idempotencyKey,
    });
  }

  async list(app: string): Promise<readonly PullPreview[]> {
    return (await this.#wire.get(z.object({ items: z.array(pullPreviewSchema) }), pathOf(app))).items;
  }

  /** Takes it down; said again it answers how far that is. */
  close(at: { app: string; number: number; run?: number | undefined }): Promise<ClosedPreview> {
    const path = `${pathOf(at.app)}/${at.number}`;
    return this.#wire.parsed(closedPreviewSchema, { method: "DELETE", path, query: { run: at.run } });
  }
}

const pathOf = (app: string) => `${API}/apps/${seg(app)}/previews`;
