import { integer, text } from "drizzle-orm/sqlite-core";

/**
 * D1, the record of truth. All times are epoch milliseconds.
 *
 * An environment and everything below it (releases, instances, jobs, its slots) is one unit of consistency: it is
 * written only by its coordinator, in batches that begin with the guarded update of `environments.rev` (store/decisions.ts).
 * Exceptions, columns that only agents' reports write: `jobs` from its lease to its result, `instances.report*`, `instances.exits`, and
 * `instances.secretVersions`, which goes with the lease of its start. Secrets and logins are written by their routes.
 * And `jobs` of kind `logs`, which decide nothing: a log stream makes and removes its own.
 */

export const at = (name: string) => integer(name, { mode: "number" });
export const json = <T>(name: string) => text(name, { mode: "json" }).$type<T>();
