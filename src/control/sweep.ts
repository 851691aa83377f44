import { coordinatorOf, logFailure } from "./context.ts";
import type { ControlEnv } from "./env.ts";
import { KEPT_MS } from "./idempotency.ts";
import { failOverdueAccessories } from "./store/accessories.ts";
import { freeQuarantinedSlots } from "./store/apps.ts";
import { openDb, runBatch } from "./store/db.ts";
import { findDueEnvironments } from "./store/due.ts";
import { dropEnrollmentsBefore } from "./store/enrollments.ts";
import { dropKeysBefore } from "./store/idempotency.ts";

const AT_ONCE = 20;

/**
 * Each minute: pokes every coordinator that has something due, in case its alarm was lost, ends
 * what an accessory's host never answered, and drops what has expired. One environment that fails keeps no other from its turn. Answers how many were poked and how many of those failed.
 */
export async function sweep(env: ControlEnv, now: number): Promise<{ poked: number; failed: number }> {
  const db = openDb(env.DB);
  await runBatch(db, failOverdueAccessories(db, now));
  const due = await findDueEnvironments(db, now);
  let failed = 0;
  for (let i = 0; i < due.length; i += AT_ONCE) {
    const ids = due.slice(i, i + AT_ONCE);
    const done = await Promise.allSettled(ids.map((id) => coordinatorOf(env, id).poke()));
    done.forEach((result, index) => {
      if (result.status === "fulfilled") return;
      failed += 1;
      logFailure("sweep.poke_failed", result.reason, { environment: ids[index] });
    });
  }
  await dropKeysBefore(db, now - KEPT_MS);
  await dropEnrollmentsBefore(db, now - KEPT_MS);
  await freeQuarantinedSlots(db, now);
  return { poked: due.length, failed };
}
