import { and, eq, getTableColumns, isNull, sql } from "drizzle-orm";
import type { Db } from "./db.ts";
import { environments } from "./schema/environments.ts";
import { instances } from "./schema/instances.ts";
import { releases } from "./schema/releases.ts";
import { slots } from "./schema/slots.ts";

/** An instance that is to run on the host now, with its release and slot. Undefined: there is none, or its stop was ordered. */
export const readClaimed = (db: Db, of: { hostId: string; instance: string }) =>
  db
    .select({
      release: getTableColumns(releases),
      environmentId: instances.environmentId,
      fence: environments.fence,
      instance: {
        id: instances.id,
        process: instances.process,
        slot: slots.n,
        hostPort: slots.hostPort,
      },
    })
    .from(instances)
    .innerJoin(releases, eq(releases.id, instances.releaseId))
    .innerJoin(environments, eq(environments.id, instances.environmentId))
    .leftJoin(slots, eq(slots.id, instances.slotId))
    .where(
      and(
        eq(instances.id, of.instance),
        eq(instances.hostId, of.hostId),
        isNull(instances.stoppedAt),
        sql`${instances.state} NOT IN ('pending', 'stopping')`,
      ),
    )
    .get();
