import type { ControlEnv } from "../env.ts";
import type { Db } from "../store/db.ts";
import { forgetParts, releaseUnused } from "../store/images/retention.ts";

/** Removes what no release needs, as much as one call of the bucket takes. Without a bucket it costs nothing. */
export async function sweepImages({ IMAGES }: ControlEnv, db: Db, now: number): Promise<number> {
  if (!IMAGES) return 0;
  const keys = await releaseUnused(db, now);
  if (keys.length === 0) return 0;
  await IMAGES.delete(keys);
  await forgetParts(db, keys);
  return keys.length;
}
