import {
  type AskImages,
  blobSchema,
  imageSchema,
  type KnownImages,
  knownImagesSchema,
} from "../../protocol/images.ts";
import type { ClientOptions } from "../transport.ts";
import { environmentPath, seg, Wire } from "../wire.ts";

interface At {
  readonly app: string;
  readonly environment: string;
}

/** A part over a bad line, and the digest of a layer of gigabytes. */
const ATTEMPT_MS = 300_000;
const TOTAL_MS = 900_000;
/** Half a minute in all: a control that is being deployed is back by then. */
const RETRIES = 7;

/** Images that go to hosts without a registry. Each call may be sent again: what is there already stays as it is. */
export class ImageCalls {
  readonly #wire: Wire;

  constructor(options: ClientOptions) {
    this.#wire = new Wire({ timeoutMs: ATTEMPT_MS, totalMs: TOTAL_MS, retries: RETRIES, ...options });
  }

  /** What of all that control has already. */
  known(at: At, asked: AskImages): Promise<KnownImages> {
    const path = `${pathOf(at)}/known`;
    return this.#wire.parsed(knownImagesSchema, { method: "POST", path, json: asked, isRepeatable: true });
  }

  async putPart(at: At, digest: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const path = `${pathOf(at)}/parts/${seg(digest)}`;
    await this.#wire.send({ method: "PUT", path, bytes, isRepeatable: true });
  }

  async putBlob(at: At, digest: string, blob: { size: number; parts: readonly string[] }): Promise<void> {
    const path = `${pathOf(at)}/blobs/${seg(digest)}`;
    await this.#wire.parsed(blobSchema, { method: "PUT", path, json: blob, isRepeatable: true });
  }

  /** Answers the image as a release names it. */
  async put(at: At, digest: string, manifest: string): Promise<string> {
    const path = `${pathOf(at)}/${seg(digest)}`;
    const call = { method: "PUT", path, json: { manifest }, isRepeatable: true } as const;
    return (await this.#wire.parsed(imageSchema, call)).image;
  }
}

const pathOf = ({ app, environment }: At) => `${environmentPath(app, environment)}/images`;
