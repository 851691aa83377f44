import type { ControlEnv } from "../env.ts";
import { coordinatorOf } from "../http/context.ts";
import { logFailure } from "../log.ts";
import { type Db, runBatch, type Statement } from "../store/db.ts";
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
export const takeDown = (db: Db, env: ControlEnv, closing: Closing): Promise<void> =>
  takeAllDown(db, env, [closing]);

/** The same of some at once: they are closed in one trip, for a sweep may make fifty for all that it does. */
export async function takeAllDown(db: Db, env: ControlEnv, closings: readonly Closing[]): Promise<void> {
  await runBatch(
    db,
    closings.flatMap((closing) => closed(db, closing)),
  );
  for (const { environmentId, actor } of closings) await endNow(env, environmentId, actor);
}

function closed(db: Db, { app, number, environmentId, cause, run, actor, now }: Closing): Statement[] {
  return [
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
  ];
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
