import type { Db } from "../store/db.ts";

/** Whose images are meant, and where they lie. */
export interface Keeping {
  readonly db: Db;
  readonly bucket: R2Bucket;
  readonly appId: string;
  /** Epoch ms. */
  readonly now: number;
}
