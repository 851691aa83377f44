import { fullImage } from "../../domain/commands/releases.ts";
import { SHIPPED, shippedImage } from "../../protocol/images.ts";
import type { Refusal } from "../refusal.ts";
import type { Db } from "../store/db.ts";
import { touchImage } from "../store/images/images.ts";

export interface Asked {
  readonly app: string;
  readonly appId: string;
  /** As the manifest has it. */
  readonly manifestImage: string;
  /** As the release was asked for. */
  readonly image: string | null;
  /** Nothing is released yet: an image that is called by a tag may still be sent. */
  readonly isPlan: boolean;
  readonly now: number;
}

/** Why an image that is in no registry can't be released; undefined: it can, and is kept meanwhile, or is in a registry. */
export async function imageLack(
  db: Db,
  { app, appId, manifestImage, image, isPlan, now }: Asked,
): Promise<Refusal | undefined> {
  const full = fullImage(manifestImage, image);
  if (!full.startsWith(`${SHIPPED}/`)) return undefined;
  if (isPlan && full.startsWith(`${SHIPPED}/${app}:`)) return undefined;
  const next = [{ command: "sluice ship --to-hosts", when: "it is to be built and sent" }];
  const shipped = shippedImage(full);
  if (!shipped) {
    const detail = `${full} is in no registry, and has no digest: an image that was shipped is released as ${SHIPPED}/${app}@sha256:…`;
    return { code: "invalid_request", detail, next };
  }
  if (shipped.app !== app)
    return { code: "forbidden", detail: `${full} is an image of ${shipped.app}: ${app} can't release it` };
  if (await touchImage(db, { appId, digest: shipped.digest, now })) return undefined;
  return { code: "not_found", detail: `${full} is not kept here (any more)`, next };
}
