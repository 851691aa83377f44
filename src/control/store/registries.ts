import { and, asc, eq } from "drizzle-orm";
import type { Db, Statement } from "./db.ts";
import { registries } from "./schema/secrets.ts";

export type RegistryRow = typeof registries.$inferSelect;

export const listRegistries = (db: Db, appId: string): Promise<RegistryRow[]> =>
  db.select().from(registries).where(eq(registries.appId, appId)).orderBy(asc(registries.registry)).all();

export const readRegistry = (db: Db, appId: string, registry: string): Promise<RegistryRow | undefined> =>
  db.select().from(registries).where(isRegistry(appId, registry)).get();

const isRegistry = (appId: string, registry: string) =>
  and(eq(registries.appId, appId), eq(registries.registry, registry));

export const putRegistry = (db: Db, row: RegistryRow) => {
  const { appId, registry, ...value } = row;
  return db
    .insert(registries)
    .values(row)
    .onConflictDoUpdate({ target: [registries.appId, registries.registry], set: value }) satisfies Statement;
};

export const deleteRegistry = (db: Db, appId: string, registry: string) =>
  db.delete(registries).where(isRegistry(appId, registry)) satisfies Statement;

/** Seals a password anew, unless another one was set meanwhile. */
export const resealRegistry = (db: Db, row: RegistryRow, next: { sealed: string; keyId: string }) =>
  db
    .update(registries)
    .set(next)
    .where(and(isRegistry(row.appId, row.registry), eq(registries.sealed, row.sealed))) satisfies Statement;
