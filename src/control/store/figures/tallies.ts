import { sql } from "drizzle-orm";
import type { Tally } from "../../../domain/rollout/tally.ts";
import type { Db, Statement } from "../db.ts";
import { tallies } from "../schema/tallies.ts";

/** Raises a counter: a statement for the batch that made so what is counted. */
export const raise = (db: Db, environmentId: string, { metric, labels, by }: Tally): Statement =>
  db
    .insert(tallies)
    .values({ environmentId, metric, labels: labels.join("|"), value: by })
    .onConflictDoUpdate({
      target: [tallies.environmentId, tallies.metric, tallies.labels],
      set: { value: sql`${tallies.value} + excluded.value` },
    });
