import { checkAllowances } from "../../domain/allowances.ts";
import type { Check } from "../../domain/doctor/doctor.ts";
import type { Db } from "../store/db.ts";
import { readUsed } from "../store/figures/days-of-use.ts";
import { readExtent } from "../store/findings.ts";

const DAY_MS = 86_400_000;

/** What Sluice itself used of a day's allowances. Changes nothing, and asks D1 alone: two trips, however much there is. */
export async function examineAllowances({ db, now }: { db: Db; now: number }): Promise<Check[]> {
  const [extent, used] = await Promise.all([readExtent(db, now - (now % DAY_MS)), readUsed(db, now)]);
  return checkAllowances({ now, ...extent, ...used });
}
