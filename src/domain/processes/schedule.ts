import { Cron } from "croner";
import { err, ok, type Result } from "../result.ts";
import type { Schedule } from "./process.ts";

/** Times of a schedule, in its own zone: a time that daylight saving skips runs right after the gap, one that comes twice, once. */

/** `0 3 * * * Europe/Berlin`: five fields of cron and an IANA zone. Fails in words. */
export function parseSchedule(text: string): Result<Schedule, string> {
  const parts = text.trim().split(/\s+/);
  const form = "must be five fields of cron and a time zone, such as `0 3 * * * Europe/Berlin`";
  if (parts.length === 5) return err(`${form}: name the zone, \`UTC\` if it is that`);
  if (parts.length !== 6) return err(form);
  const schedule = { cron: parts.slice(0, 5).join(" "), zone: parts[5] ?? "" };
  if (!isZone(schedule.zone)) return err(`\`${schedule.zone}\` is no time zone: ${form}`);
  try {
    const never =
      new Cron(schedule.cron, { ...OPTIONS, timezone: schedule.zone }).nextRun(new Date(0)) === null;
    return never ? err(`\`${schedule.cron}\` never comes`) : ok(schedule);
  } catch (error) {
    const why = error instanceof Error ? error.message.replace(/^CronPattern: /, "") : String(error);
    return err(`${form}: ${why}`);
  }
}

/** No function is given, so that nothing is ever set going: it only reckons. */
const OPTIONS = { paused: true, mode: "5-part" } as const;

/** The first time after `after` (epoch ms). Null: it never comes again. */
export function nextTime({ cron, zone }: Schedule, after: number): number | null {
  const next = new Cron(cron, { ...OPTIONS, timezone: zone }).nextRun(new Date(after));
  return next?.getTime() ?? null;
}

export const scheduleText = ({ cron, zone }: Schedule): string => `${cron} ${zone}`;

function isZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone });
    return true;
  } catch {
    return false;
  }
}
