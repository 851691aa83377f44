import type { ControlEnv } from "../env.ts";
import { objectIn } from "../objects.ts";
import type { Owed } from "../store/outbox.ts";

export interface Wake {
  readonly env: ControlEnv;
  readonly owed: readonly Owed[];
  /** Called between the wake-ups and the note that they were done. */
  readonly woken: () => Promise<void>;
}

/**
 * Hands over the wake-ups that committed decisions owe. A host that can't be woken finds its jobs at its next poll, and is
 * tried again. Answers which were handed over and which are late: to be noted with the next trip to the database.
 */
export async function wakeHosts({ env, owed, woken }: Wake): Promise<{ done: number[]; late: number[] }> {
  if (owed.length === 0) return { done: [], late: [] };
  const hosts = [...new Set(owed.map((row) => String(row.payload.host)))];
  const results = await Promise.allSettled(hosts.map((host) => objectIn(env.HOST_LINK, host, env).wake()));
  await woken();
  const failed = new Set(hosts.filter((_, index) => results[index]?.status === "rejected"));
  const [late, done] = [true, false].map((is) =>
    owed.filter(({ payload }) => failed.has(String(payload.host)) === is).map(({ id }) => id),
  );
  return { done: done ?? [], late: late ?? [] };
}
