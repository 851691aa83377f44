import { checkAllowances } from "../../domain/allowances.ts";
import type { Check } from "../../domain/doctor/doctor.ts";
import type { ControlEnv } from "../env.ts";
import { coordinatorOf } from "../http/context.ts";
import { logWarning } from "../log.ts";
import { readDay } from "../meter/parts.ts";
import { metersOf } from "../objects.ts";
import type { Db } from "../store/db.ts";
import { readExtent } from "../store/findings.ts";

const DAY_MS = 86_400_000;

/** What Sluice itself used of a day's allowances. Changes nothing; asks five objects for each environment. */
export async function examineAllowances({
  env,
  db,
  now,
}: {
  env: ControlEnv;
  db: Db;
  now: number;
}): Promise<Check[]> {
  const { hosts, releases, environments } = await readExtent(db, now - (now % DAY_MS));
  const days = await Promise.all(environments.map((id) => dayOf(env, id, now)));
  const sum = (of: (day: (typeof days)[number]) => number) => days.reduce((total, day) => total + of(day), 0);
  return checkAllowances({
    now,
    hosts,
    releases,
    visitors: sum(({ requests }) => requests),
    objectRows: sum(({ written }) => written),
    objectCalls: sum(({ calls }) => calls),
    tableCopies: sum(({ copies }) => copies),
  });
}

/** One that can't be asked counts as nothing: the others are worth telling. */
async function dayOf(env: ControlEnv, environment: string, now: number) {
  try {
    const [day, { copies, calls }] = await Promise.all([
      readDay(metersOf(env), environment, now),
      coordinatorOf(env, environment).usedToday(),
    ]);
    return { ...day, copies, calls: day.calls + calls };
  } catch (error) {
    logWarning("doctor.day_unread", { environment, error: String(error) });
    return { requests: 0, written: 0, calls: 0, copies: 0 };
  }
}
