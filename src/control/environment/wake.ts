import type { ControlEnv } from "../env.ts";
import type { Db } from "../store/db.ts";
import * as outbox from "../store/outbox.ts";

export interface Wake {
  readonly env: ControlEnv;
  readonly db: Db;
  readonly environmentId: string;
  readonly now: number;
  /** Called between the wake-ups and the note that they were done. */
  readonly woken: () => Promise<void>;
}

/**
 * Hands over the wake-ups that committed decisions owe. A host that can't be woken finds its jobs at its next poll, and is
 * tried again. Answers whether all were handed over.
 */
export async function wakeHosts({ env, db, environmentId, now, woken }: Wake): Promise<boolean> {
  const rows = await outbox.due(db, environmentId, now);
  if (rows.length === 0) return true;
  const hosts = [...new Set(rows.map((row) => String(row.payload.host)))];
  const results = await Promise.allSettled(hosts.map((host) => env.HOST_LINK.getByName(host).wake()));
  await woken();
  const failed = new Set(hosts.filter((_, index) => results[index]?.status === "rejected"));
  const isLate = (row: outbox.Owed) => failed.has(String(row.payload.host));
  const ids = (owed: outbox.Owed[]) => owed.map((row) => row.id);
  await outbox.settled(db, ids(rows.filter((row) => !isLate(row))));
  await outbox.postpone(db, ids(rows.filter(isLate)), now);
  return failed.size === 0;
}
