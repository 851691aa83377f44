import { and, eq, inArray, isNotNull, isNull, sql } from "drizzle-orm";
import { previewSecretsOf } from "../../../domain/previews/preview.ts";
import type { EnvironmentFacts } from "../../../domain/rollout/facts.ts";
import { readAccessories } from "../accessories.ts";
import { type Db, runBatch, type Statement } from "../db.ts";
import { insertEvent } from "../events.ts";
import { apps } from "../schema/apps.ts";
import { environments } from "../schema/environments.ts";
import { hostnameGrants, hostnames } from "../schema/hostnames.ts";
import { pastSecrets, registries, secrets } from "../schema/secrets.ts";
import { tokens } from "../schema/tokens.ts";

/** The ends of environments and apps. What is over gives its name back at once; its history goes in pieces (retention.ts). */

/** What is left of an environment that is being destroyed. */
export async function readEnding(db: Db, id: string) {
  const [environment, accessories] = await Promise.all([
    db
      .select()
      .from(environments)
      .where(and(eq(environments.id, id), isNull(environments.deletedAt)))
      .get(),
    readAccessories(db, sql`(${id})`),
  ]);
  return { environment, accessories };
}

interface End {
  readonly facts: EnvironmentFacts;
  readonly actor: string;
  readonly now: number;
}

/**
 * Nothing of it runs any more: it is gone, with its secrets, its hostnames and the tokens that were made for it alone. Fails
 * as a whole when anything was written since it was read.
 */
export function endStatements(db: Db, { facts, actor, now }: End): Statement[] {
  const { id, app, name, rev } = facts;
  return [
    db
      .update(environments)
      .set({
        rev: sql`CASE WHEN ${environments.rev} = ${rev} THEN ${rev + 1} END`,
        // Its name is free again: what is applied under it is another one.
        name: `${name}~${id}`,
        deletedAt: now,
      })
      .where(eq(environments.id, id)),
    db.delete(secrets).where(inArray(secrets.environmentId, [id, previewSecretsOf(id)])),
    db.delete(pastSecrets).where(inArray(pastSecrets.environmentId, [id, previewSecretsOf(id)])),
    db.delete(hostnames).where(eq(hostnames.environmentId, id)),
    db
      .update(tokens)
      .set({ revokedAt: now })
      .where(and(eq(tokens.app, app), eq(tokens.environment, name), isNull(tokens.revokedAt))),
    insertEvent(db, {
      at: now,
      type: "environment.destroyed",
      actor,
      app,
      environment: name,
      environmentId: id,
      message: `${app}/${name} is destroyed: nothing of it runs any more. The data volumes on its hosts stay`,
      data: { environment: id },
    }),
  ];
}

/** Has an app end with its environments: from now on nothing is applied to it. Said again the first word stays. */
export const endApp = (db: Db, app: { id: string; name: string }, by: { actor: string; now: number }) =>
  [
    db
      .update(apps)
      .set({ ending: { at: by.now, by: by.actor } })
      .where(and(eq(apps.id, app.id), isNull(apps.ending))),
    insertEvent(db, {
      at: by.now,
      type: "app.ending",
      actor: by.actor,
      app: app.name,
      message: `${app.name} is destroyed by ${by.actor}, with all of its environments`,
    }),
  ] satisfies Statement[];

/** What one request or sweep tells, or finishes; the next sweep goes on. */
const AT_ONCE = 50;

/**
 * Some environments of ending apps (of all, or of one) that nobody has told yet, and whose word it was. Any of them, so that those
 * whose coordinators fail keep no others from their turn.
 */
export async function findUntold(db: Db, appId?: string): Promise<{ id: string; by: string }[]> {
  const rows = await db
    .select({ id: environments.id, ending: apps.ending })
    .from(apps)
    .innerJoin(environments, eq(environments.appId, apps.id))
    .where(
      and(
        isNotNull(apps.ending),
        isNull(environments.deletedAt),
        isNull(environments.ending),
        appId === undefined ? undefined : eq(apps.id, appId),
      ),
    )
    .orderBy(sql`random()`)
    .limit(AT_ONCE);
  return rows.map(({ id, ending }) => ({ id, by: ending?.by ?? "sluice" }));
}

/** Apps that were to end and have no environment any more: their logins, grants and tokens go, and their name is free. */
export async function finishApps(db: Db, now: number): Promise<void> {
  const over = await db
    .select()
    .from(apps)
    .where(
      sql`${apps.ending} IS NOT NULL AND ${apps.name} NOT LIKE '%~%' AND NOT EXISTS (
        SELECT 1 FROM environments e WHERE e.app_id = ${apps.id} AND e.deleted_at IS NULL)`,
    )
    .limit(AT_ONCE);
  await runBatch(
    db,
    over.flatMap(({ id, name, ending }): Statement[] => [
      db
        .update(apps)
        .set({ name: `${name}~${id}` })
        .where(and(eq(apps.id, id), eq(apps.name, name))),
      db.delete(registries).where(eq(registries.appId, id)),
      db.delete(hostnameGrants).where(eq(hostnameGrants.app, name)),
      db
        .update(tokens)
        .set({ revokedAt: now })
        .where(and(eq(tokens.app, name), isNull(tokens.revokedAt))),
      insertEvent(db, {
        at: now,
        type: "app.destroyed",
        actor: ending?.by ?? "sluice",
        app: name,
        message: `${name} is destroyed: its environments, logins, grants and tokens are gone`,
      }),
    ]),
  );
}
