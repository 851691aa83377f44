import type { ControlEnv } from "../env.ts";
import { coordinatorOf } from "../http/context.ts";
import { logFailure } from "../log.ts";
import { type Db, runBatch } from "../store/db.ts";
import { insertEvent } from "../store/events.ts";
import { closePreview } from "../store/previews/previews.ts";

interface Closing {
  readonly app: string;
  readonly number: number;
  readonly environmentId: string;
  /** Why, in words. */
  readonly cause: string;
  /** Of the CI run that asks. */
  readonly run: number | null;
  readonly actor: string;
  readonly now: number;
}

/**
 * Takes a preview down: from now on it is closed, and its environment ends as any does. Who dies in between leaves the rest to
 * the sweep. Said again it changes nothing.
 */
export async function takeDown(db: Db, env: ControlEnv, closing: Closing): Promise<void> {
  const { app, number, environmentId, cause, run, actor, now } = closing;
  await runBatch(db, [
    closePreview(db, { app, number }, { closedAt: now, closedCause: cause, run }),
    insertEvent(db, {
      at: now,
      type: "preview.closed",
      actor,
      app,
      environment: `pr-${number}`,
      environmentId,
      message: `the preview of pull request ${number} is taken down: ${cause}`,
      data: { number, cause },
    }),
  ]);
  await endNow(env, environmentId, actor);
}

/** What could not be told now is told by the next sweep. */
export async function endNow(env: ControlEnv, environmentId: string, actor: string): Promise<void> {
  try {
    const done = await coordinatorOf(env, environmentId).destroy({ actor });
    // Gone is what it was to be.
    if (!done.ok && done.error.code !== "not_found") throw new Error(done.error.detail);
  } catch (error) {
    logFailure("preview.not_ended", error, { environment: environmentId });
  }
}
