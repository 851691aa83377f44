import { and, eq, isNull } from "drizzle-orm";
import { movingFrom } from "../../domain/rollout/upkeep/stranded.ts";
import { type Db, runBatch } from "../store/db.ts";
import { loadEnvironments } from "../store/environments.ts";
import { insertEvent } from "../store/events.ts";
import type { HostRow, HostStatus } from "../store/hosts.ts";
import { hosts } from "../store/schema/hosts.ts";
import { findEnvironmentsOn } from "../store/upkeep/due.ts";

/** Empties hosts: what serves there goes on elsewhere first (domain/rollout/upkeep/replace.ts). */

interface By {
  readonly actor: string;
  readonly now: number;
}

/** What runs on the host and could go on nowhere else, in words: of all environments together, which share what is free. */
export async function strandedBy(db: Db, host: HostRow, now: number): Promise<string[]> {
  const ids = await findEnvironmentsOn(db, [host.id]);
  const words: string[] = [];
  const taken = new Set<string>();
  for (const loaded of await loadEnvironments(db, ids, { withHosts: true })) {
    const { stranded, takes } = movingFrom(loaded.facts, host.id, now, taken);
    words.push(...stranded);
    for (const slot of takes) taken.add(slot);
  }
  return words;
}

/** Has a host emptied. Said again the first word stays. Answers the environments that have something there. */
export async function beginDrain(db: Db, { host }: HostStatus, { actor, now }: By): Promise<string[]> {
  if (host.draining === null) {
    const draining = { at: now, by: actor };
    await runBatch(db, [
      db
        .update(hosts)
        .set({ draining })
        .where(and(eq(hosts.id, host.id), isNull(hosts.removedAt), isNull(hosts.draining))),
      insertEvent(db, {
        at: now,
        type: "host.draining",
        actor,
        message: `host ${host.name} is drained: what serves there goes on elsewhere`,
        data: { host: host.name, id: host.id },
      }),
    ]);
  }
  return findEnvironmentsOn(db, [host.id]);
}

/** Lets a host carry again. What has left stays where it went. */
export async function endDrain(db: Db, { host }: HostStatus, { actor, now }: By): Promise<string[]> {
  if (host.draining !== null)
    await runBatch(db, [
      db.update(hosts).set({ draining: null }).where(eq(hosts.id, host.id)),
      insertEvent(db, {
        at: now,
        type: "host.undrained",
        actor,
        message: `host ${host.name} is drained no more: it may carry again`,
        data: { host: host.name, id: host.id },
      }),
    ]);
  return findEnvironmentsOn(db, [host.id]);
}
