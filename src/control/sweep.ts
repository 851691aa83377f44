import { HOST_OFFLINE_MS } from "../domain/host-online.ts";
import { sealAudit } from "./audit/seal.ts";
import { settingsOf } from "./cloudflare/api.ts";
import { tendDueHostnames } from "./cloudflare/tend-hostnames.ts";
import type { ControlEnv } from "./env.ts";
import { coordinatorOf } from "./http/context.ts";
import { KEPT_MS } from "./http/idempotency.ts";
import { sweepImages } from "./images/sweep.ts";
import { logFailure } from "./log.ts";
import { pokeNotifier } from "./notify/poke.ts";
import { objectIn } from "./objects.ts";
import { tendPreviews } from "./previews/tend.ts";
import { reseal } from "./secrets/reseal.ts";
import { readKeyring } from "./secrets/seal.ts";
import { failOverdueAccessories } from "./store/accessories.ts";
import { type Db, openDb, runBatch } from "./store/db.ts";
import { dropEnrollmentsBefore } from "./store/enrollments.ts";
import { dropKeysBefore } from "./store/idempotency.ts";
import { dropSessionsBefore } from "./store/identity/sessions.ts";
import { dropTradedBefore } from "./store/identity/trusts.ts";
import { dropLogJobsBefore } from "./store/log-streams.ts";
import { isTellingDue, pruneDeliveries } from "./store/notify/deliveries.ts";
import { dropGone } from "./store/previews/upkeep.ts";
import { dropSecretsOfDeleted } from "./store/secrets.ts";
import { findDueTunnels } from "./store/tunnels.ts";
import { noteSweep } from "./store/upkeep/clock.ts";
import { findDueEnvironments } from "./store/upkeep/due.ts";
import { findUntold, finishApps } from "./store/upkeep/endings.ts";
import { prune } from "./store/upkeep/retention.ts";

const AT_ONCE = 20;
/** A tunnel's alarm that is this late was lost. */
const LATE_MS = 30_000;
const MINUTE_MS = 60_000;
/** Deliveries that are over, images that nobody needs, and previews long gone, wait for this to be dropped. */
const HOUR_MS = 60 * MINUTE_MS;

/**
 * Each minute: pokes every coordinator that has something due, and every host whose tunnel is late, in case its alarm was
 * lost, ends what an accessory's host never answered, and drops what has expired. One that fails keeps no other from its
 * turn. Answers how many coordinators were poked and how many of those failed.
 */
export async function sweep(env: ControlEnv, now: number): Promise<{ poked: number; failed: number }> {
  const db = openDb(env.DB);
  await runBatch(db, failOverdueAccessories(db, now));
  const clock = await noteSweep(db, now);
  // Control was away: nobody was silent for longer than it has listened since.
  const silentBefore = now - clock.backSince < HOST_OFFLINE_MS ? 0 : now - HOST_OFFLINE_MS;
  const due = await findDueEnvironments(db, now, silentBefore);
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
  await resumeEnds(env, db, now);
  await tendPreviews(env, now).catch((error) => logFailure("sweep.previews_failed", error));
  await dropKeysBefore(db, now - KEPT_MS);
  await dropSessionsBefore(db, now - KEPT_MS);
  await dropTradedBefore(db, now);
  await dropLogJobsBefore(db, now);
  await dropEnrollmentsBefore(db, now - KEPT_MS);
  await dropSecretsOfDeleted(db, now - KEPT_MS);
  // What is pruned has its link by then.
  await sealAudit(env).catch((error) => logFailure("sweep.seal_failed", error));
  await prune(db, now);
  if (isHourly(now)) await dropGone(db, now);
  await tell(env, db, now);
  await resealSome(env, db);
  if (isHourly(now))
    await sweepImages(env, db, now).catch((error) => logFailure("sweep.images_failed", error));
  if (settingsOf(env)) await tendCloudflare(env, now);
  return { poked: due.length, failed };
}

/** Whoever had an app destroyed may have died before all of its environments were told. */
async function resumeEnds(env: ControlEnv, db: Db, now: number): Promise<void> {
  for (const { id, by } of await findUntold(db))
    await coordinatorOf(env, id)
      .destroy({ actor: by })
      .catch((error) => logFailure("sweep.destroy_failed", error, { environment: id }));
  await finishApps(db, now);
}

/** Events that no coordinator wrote, and messages whose alarm was lost. */
async function tell(env: ControlEnv, db: Db, now: number): Promise<void> {
  if (await isTellingDue(db, now)) await pokeNotifier(env, { changed: true });
  if (isHourly(now)) await pruneDeliveries(db, now);
}

const isHourly = (now: number): boolean => now % HOUR_MS < MINUTE_MS;

/** While there is a key before, what it sealed is sealed anew, some each minute. Without one it costs no query. */
async function resealSome(env: ControlEnv, db: Db): Promise<void> {
  if (!env.SECRETS_KEY_BEFORE) return;
  const keyring = await readKeyring(env);
  if (keyring.ok) await reseal(db, keyring.value);
  else logFailure("sweep.reseal_failed", keyring.error);
}

/** What Cloudflare still owes: tunnels whose alarm was lost, and public hostnames that don't lead to the edge yet. */
async function tendCloudflare(env: ControlEnv, now: number): Promise<void> {
  for (const id of await findDueTunnels(openDb(env.DB), now - LATE_MS)) {
    await objectIn(env.HOST_LINK, id, env)
      .tend(id)
      .catch((error) => logFailure("sweep.tend_failed", error, { host: id }));
  }
  await tendDueHostnames(env, now).catch((error) => logFailure("sweep.hostnames_failed", error));
}
