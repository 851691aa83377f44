import type { ControlEnv } from "../env.ts";
import { logWarning } from "../log.ts";
import { openDb } from "../store/db.ts";
import { findStale, findUnknownPreviews, findUntoldPreviews } from "../store/previews/upkeep.ts";
import { endNow, takeAllDown } from "./close.ts";

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
const ACTOR = "sluice";

/**
 * Takes down previews whose time is over or that have lost what they were made after, and finds what was left behind: a row
 * without its environment, and once an hour an environment without its row. Each minute, by the sweep; its containers, routes
 * and records go with the environment, as of any that is destroyed.
 */
export async function tendPreviews(env: ControlEnv, now: number): Promise<void> {
  const db = openDb(env.DB);
  const stale = await findStale(db, now);
  await takeAllDown(
    db,
    env,
    stale.map((one) => ({ ...one, run: null, actor: ACTOR, now })),
  );
  for (const { id } of await findUntoldPreviews(db)) await endNow(env, id, ACTOR);
  if (now % HOUR_MS >= MINUTE_MS) return;
  for (const { id } of await findUnknownPreviews(db, now - MINUTE_MS)) {
    logWarning("preview.unknown", { environment: id });
    await endNow(env, id, ACTOR);
  }
}
