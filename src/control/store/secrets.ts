import { and, asc, eq, type SQL, sql } from "drizzle-orm";
import type { Db, Statement } from "./db.ts";
import { accessories } from "./schema/accessories.ts";
import { apps } from "./schema/apps.ts";
import { environments } from "./schema/environments.ts";
import { instances } from "./schema/instances.ts";
import { releases } from "./schema/releases.ts";
import { pastSecrets, registries, secrets } from "./schema/secrets.ts";
import { webhooks } from "./schema/webhooks.ts";

export type SecretRow = typeof secrets.$inferSelect;

/** All that is known of an environment's secrets, but for the sealed values themselves. */
const facts = {
  environmentId: secrets.environmentId,
  name: secrets.name,
  keyId: secrets.keyId,
  version: secrets.version,
  updatedAt: secrets.updatedAt,
  updatedBy: secrets.updatedBy,
};
export type SecretFacts = Omit<SecretRow, "sealed">;

export const listSecrets = (db: Db, environmentIds: readonly string[]): Promise<SecretFacts[]> =>
  selectSecrets(db, sql`(SELECT value FROM json_each(${JSON.stringify(environmentIds)}))`).all();

/** `within`: ids of environments. */
export const selectSecrets = (db: Db, within: SQL) =>
  db.select(facts).from(secrets).where(sql`${secrets.environmentId} IN ${within}`).orderBy(asc(secrets.name));

export const readSecret = (db: Db, environmentId: string, name: string): Promise<SecretRow | undefined> =>
  db.select().from(secrets).where(isSecret(environmentId, name)).get();

const isSecret = (environmentId: string, name: string) =>
  and(eq(secrets.environmentId, environmentId), eq(secrets.name, name));

/** Sets a value. Its version is above that of every value before, also of one that was removed and still runs somewhere. */
export const putSecret = (db: Db, row: Omit<SecretRow, "version">) => {
  const path = `$.${row.name}`;
  const version = sql`coalesce((SELECT max(v) FROM (
      SELECT json_extract(secret_versions, ${path}) AS v FROM instances
        WHERE environment_id = ${row.environmentId} AND stopped_at IS NULL
      UNION ALL SELECT json_extract(secret_versions, ${path}) FROM accessories
        WHERE environment_id = ${row.environmentId})), 0) + 1`;
  const { environmentId, name, ...value } = row;
  return db
    .insert(secrets)
    .values({ ...row, version })
    .onConflictDoUpdate({
      target: [secrets.environmentId, secrets.name],
      set: { ...value, version: sql`${secrets.version} + 1` },
    })
    .returning({ version: secrets.version }) satisfies Statement;
};

/** Keeps the value that a newer one is about to replace, for the releases that were made with it. */
export const keepPastSecret = (db: Db, environmentId: string, name: string) =>
  db
    .insert(pastSecrets)
    .select(
      db
        .select({
          environmentId: secrets.environmentId,
          name: secrets.name,
          version: secrets.version,
          sealed: secrets.sealed,
          keyId: secrets.keyId,
        })
        .from(secrets)
        .where(isSecret(environmentId, name)),
    )
    .onConflictDoNothing() satisfies Statement;

export const countPastSecrets = (db: Db, environmentId: string, name: string): Promise<number> =>
  db.$count(pastSecrets, and(eq(pastSecrets.environmentId, environmentId), eq(pastSecrets.name, name)));

/** From here on nobody gets an older value, whatever release it was made for. */
export const dropPastSecrets = (db: Db, environmentId: string, name: string) =>
  db
    .delete(pastSecrets)
    .where(and(eq(pastSecrets.environmentId, environmentId), eq(pastSecrets.name, name))) satisfies Statement;

export const deleteSecret = (db: Db, environmentId: string, name: string) =>
  db.delete(secrets).where(isSecret(environmentId, name)) satisfies Statement;

/** What a release that is made now notes: the versions of today, or those of another release. */
export const secretVersionsOf = (environmentId: string, release: string | undefined) =>
  release === undefined
    ? sql<Record<string, number>>`(SELECT json_group_object(name, version) FROM secrets
        WHERE environment_id = ${environmentId})`
    : sql<Record<string, number>>`(SELECT secret_versions FROM releases WHERE id = ${release})`;

/** Values that no release of these could be started with again. */
export const prunePastSecrets = (db: Db, environmentId: string, startable: SQL) =>
  db.delete(pastSecrets).where(
    sql`environment_id = ${environmentId} AND NOT EXISTS (SELECT 1 FROM releases WHERE id IN (${startable})
      AND json_extract(secret_versions, '$.' || past_secrets.name) = past_secrets.version)`,
  ) satisfies Statement;

/** The environment that a secret is of, also where it is for its previews (domain/previews). */
const ownerSql = (column: SQL) => sql`replace(${column}, '~previews', '')`;

/** An environment that comes back within the quarantine of its slots finds its secrets; later they are gone. */
export async function dropSecretsOfDeleted(db: Db, deletedBefore: number): Promise<void> {
  const gone = sql`(SELECT id FROM environments WHERE deleted_at <= ${deletedBefore})`;
  await db.batch([
    db.delete(secrets).where(sql`${ownerSql(sql`${secrets.environmentId}`)} IN ${gone}`),
    db.delete(pastSecrets).where(sql`${ownerSql(sql`${pastSecrets.environmentId}`)} IN ${gone}`),
  ]);
}

// --- for the agents that claim jobs ---------------------------------------------------------------------------------

interface Wanted {
  readonly environments: readonly string[];
  readonly names: readonly string[];
  readonly releases: readonly string[];
}

/**
 * Sealed values by name of some environments, a preview's shared ones and those that newer ones replaced among them, which versions these releases were made
 * with, and the logins of the environments' apps. One round trip.
 */
export async function readVault(db: Db, of: Wanted) {
  const ids = sql`(SELECT value FROM json_each(${JSON.stringify(of.environments)}))`;
  const names = sql`(SELECT value FROM json_each(${JSON.stringify(of.names)}))`;
  const shared = sql<string | null>`${environments.spec} ->> '$.preview.secretsOf'`;
  const [values, logins, past, pins, previews] = await db.batch([
    db
      .select()
      .from(secrets)
      .where(
        sql`(${secrets.environmentId} IN ${ids} OR ${secrets.environmentId} IN
          (SELECT spec ->> '$.preview.secretsOf' FROM environments WHERE id IN ${ids}))
          AND ${secrets.name} IN ${names}`,
      ),
    db
      .select({ environmentId: environments.id, login: registries })
      .from(registries)
      .innerJoin(environments, eq(environments.appId, registries.appId))
      .where(sql`${environments.id} IN ${ids}`),
    db
      .select()
      .from(pastSecrets)
      .where(sql`${pastSecrets.environmentId} IN ${ids} AND ${pastSecrets.name} IN ${names}`),
    db
      .select({ release: releases.id, versions: releases.secretVersions })
      .from(releases)
      .where(sql`${releases.id} IN (SELECT value FROM json_each(${JSON.stringify(of.releases)}))`),
    db
      .select({ environmentId: environments.id, owner: shared.as("shared_owner") })
      .from(environments)
      .where(sql`${environments.id} IN ${ids}`),
  ]);
  return { values, logins, past, pins, previews };
}
export type Vault = Awaited<ReturnType<typeof readVault>>;

/**
 * Notes which versions an instance got. The first ones stay: a job that is leased again may find that its instance runs
 * already, with what the first lease handed out. `anew`: it does not.
 */
export const noteInstanceSecrets = (
  db: Db,
  instance: string,
  versions: Readonly<Record<string, number>>,
  anew = false,
) =>
  db
    .update(instances)
    .set({
      secretVersions: anew
        ? versions
        : sql`coalesce(${instances.secretVersions}, ${JSON.stringify(versions)})`,
    })
    .where(eq(instances.id, instance)) satisfies Statement;

/** The same for an accessory. `again`: its container is there already if it ever was started, and keeps what it has. */
export const noteAccessorySecrets = (
  db: Db,
  at: { environmentId: string; name: string; again: boolean },
  versions: Readonly<Record<string, number>>,
) => {
  const text = JSON.stringify(versions);
  return db
    .update(accessories)
    .set({ secretVersions: at.again ? sql`coalesce(${accessories.secretVersions}, ${text})` : versions })
    .where(
      and(eq(accessories.environmentId, at.environmentId), eq(accessories.name, at.name)),
    ) satisfies Statement;
};

// --- a new key ------------------------------------------------------------------------------------------------------

/** Rows of both tables that are sealed under this key, with the words a person knows them by. */
export async function listSealedUnder(db: Db, keyId: string, limit: number) {
  // Not a batch: its rows come by column name, and two tables have a `name`.
  const [some, past, logins, targets] = await Promise.all([
    secretsNamed(db).where(eq(secrets.keyId, keyId)).limit(limit),
    pastSecretsNamed(db).where(eq(pastSecrets.keyId, keyId)).limit(limit),
    registriesNamed(db).where(eq(registries.keyId, keyId)).limit(limit),
    db.select().from(webhooks).where(eq(webhooks.keyId, keyId)).limit(limit).all(),
  ]);
  return { secrets: some, pastSecrets: past, registries: logins, webhooks: targets };
}

/** How many rows each key has sealed. */
export async function countSealed(db: Db): Promise<Map<string, number>> {
  const rows = await db.all<{ keyId: string; n: number }>(
    sql`SELECT key_id AS keyId, count(*) AS n FROM (SELECT key_id FROM secrets UNION ALL SELECT key_id FROM past_secrets UNION ALL SELECT key_id FROM registries
      UNION ALL SELECT key_id FROM webhooks)
      GROUP BY key_id`,
  );
  return new Map(rows.map(({ keyId, n }) => [keyId, n]));
}

const secretsNamed = (db: Db) =>
  db
    .select({ app: apps.name, environment: environments.name, row: secrets })
    .from(secrets)
    .innerJoin(environments, eq(environments.id, ownerSql(sql`${secrets.environmentId}`)))
    .innerJoin(apps, eq(apps.id, environments.appId))
    .orderBy(asc(apps.name), asc(environments.name), asc(secrets.name))
    .$dynamic();

const pastSecretsNamed = (db: Db) =>
  db
    .select({ app: apps.name, environment: environments.name, row: pastSecrets })
    .from(pastSecrets)
    .innerJoin(environments, eq(environments.id, pastSecrets.environmentId))
    .innerJoin(apps, eq(apps.id, environments.appId))
    .orderBy(asc(apps.name), asc(environments.name), asc(pastSecrets.name))
    .$dynamic();

const registriesNamed = (db: Db) =>
  db
    .select({ app: apps.name, row: registries })
    .from(registries)
    .innerJoin(apps, eq(apps.id, registries.appId))
    .orderBy(asc(apps.name), asc(registries.registry))
    .$dynamic();

/** Seals a value anew, unless another one was set meanwhile. Its version stays: it is the same value. */
export const resealSecret = (db: Db, row: SecretRow, next: { sealed: string; keyId: string }) =>
  db
    .update(secrets)
    .set(next)
    .where(and(isSecret(row.environmentId, row.name), eq(secrets.sealed, row.sealed))) satisfies Statement;

export const resealPastSecret = (
  db: Db,
  { environmentId, name, version }: typeof pastSecrets.$inferSelect,
  next: { sealed: string; keyId: string },
) =>
  db
    .update(pastSecrets)
    .set(next)
    .where(
      and(
        eq(pastSecrets.environmentId, environmentId),
        eq(pastSecrets.name, name),
        eq(pastSecrets.version, version),
      ),
    ) satisfies Statement;
