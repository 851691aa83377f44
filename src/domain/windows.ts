import { err, ok, type Result } from "./result.ts";
import { moment } from "./times.ts";

/** When releases may begin. Times are wall-clock times of the window's own zone, so that summer time moves them along. */
export interface DeployWindow {
  /** 0 = Sunday. */
  readonly days: readonly number[];
  /** Minutes since midnight; `toMin` exclusive, smaller than `fromMin` when the window passes midnight. */
  readonly fromMin: number;
  readonly toMin: number;
  readonly timeZone: string;
}

/** Once, from a date to a date of a zone: whole days, both included, where it says no hours. */
export interface DatedFreeze {
  /** `YYYY-MM-DD` */
  readonly from: string;
  readonly to: string;
  /** Minutes since midnight of the first day, and of the last; `toMin` exclusive. Absent: from its beginning, to its end. */
  readonly fromMin?: number;
  readonly toMin?: number;
  readonly timeZone: string;
}

/** When no release may begin: once, or in each week. */
export type Freeze = DatedFreeze | DeployWindow;

export interface DeployRules {
  /** Empty: at any time that is not frozen. */
  readonly allow: readonly DeployWindow[];
  readonly freeze: readonly Freeze[];
}

export type Openness =
  | { readonly open: true }
  | {
      readonly open: false;
      /** In words. */
      readonly reason: string;
      /** Epoch ms of the next opening; null: not within the next 60 days. */
      readonly opensAt: number | null;
    };

const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MINUTE = 60_000;
const DAY = 86_400_000;
const SEARCH_DAYS = 60;
/** 24:00. */
const LAST_MINUTE = 1_440;

/** Parses `Mon-Fri 08:00-18:00 Asia/Dhaka`; days may be a list (`Mon,Wed,Fri`), the zone defaults to UTC. */
export function parseWindow(text: string): Result<DeployWindow, string> {
  const match = /^(\S+)\s+(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})(?:\s+(\S+))?$/.exec(text.trim());
  if (!match) return err(`\`${text}\` is not a window such as \`Mon-Fri 08:00-18:00 Asia/Dhaka\``);
  const [, dayText = "", fromH, fromM, toH, toM, zone = "UTC"] = match;
  const days = parseDays(dayText);
  if (!days) return err(`\`${dayText}\` in \`${text}\` is not a day, a list (Mon,Wed) or a range (Mon-Fri)`);
  const fromMin = Number(fromH) * 60 + Number(fromM);
  const toMin = Number(toH) * 60 + Number(toM);
  if (fromMin >= 1440 || toMin > 1440 || Number(fromM) > 59 || Number(toM) > 59) {
    return err(`\`${text}\` has a time beyond 24:00`);
  }
  if (fromMin === toMin) return err(`\`${text}\` never opens: it begins when it ends`);
  if (!isTimeZone(zone))
    return err(`\`${zone}\` in \`${text}\` is not a time zone such as Europe/Berlin or UTC`);
  return ok({ days, fromMin, toMin, timeZone: zone });
}

const DATE = "(\\d{4}-\\d{2}-\\d{2})";
const CLOCK = "(\\d{1,2}:\\d{2})";
/** A day, hours of one day, or from a day to a day, each perhaps at an hour. */
const DATED = new RegExp(
  `^${DATE}(?:\\s+${CLOCK}-${CLOCK}|(?:\\s+${CLOCK})?\\.\\.${DATE}(?:\\s+${CLOCK})?)?(?:\\s+([A-Za-z]\\S*))?$`,
);

/**
 * Parses `2026-12-24`, `2026-12-24..2027-01-02`, `2026-12-24 12:00..2026-12-27 06:00`, `2026-12-24 12:00-18:00`, or what
 * repeats each week as windows do: `Fri 15:00-24:00`. Each may be followed by a zone.
 */
export function parseFreeze(text: string): Result<Freeze, string> {
  if (/^[A-Za-z]{3}[\s,-]/.test(text.trim())) return parseWindow(text);
  const match = DATED.exec(text.trim());
  const [, from = "", dayFrom, dayTo, clockFrom, to = from, clockTo, timeZone = "UTC"] = match ?? [];
  const isDate = (date: string) => !Number.isNaN(Date.parse(`${date}T00:00:00Z`));
  if (!match || !isDate(from) || !isDate(to))
    return err(
      `\`${text}\` is not a date (2026-12-24), a range (2026-12-24..2027-01-02, 2026-12-24 12:00..2026-12-27 06:00) or hours of each week (Fri 15:00-24:00)`,
    );
  const [fromMin, toMin] = [minutesOf(dayFrom ?? clockFrom), minutesOf(dayTo ?? clockTo)];
  if (Number.isNaN(fromMin ?? 0) || Number.isNaN(toMin ?? 0))
    return err(`\`${text}\` has a time beyond 24:00`);
  if (to < from || (to === from && (fromMin ?? 0) >= (toMin ?? LAST_MINUTE)))
    return err(`\`${text}\` ends before it begins`);
  if (!isTimeZone(timeZone)) return err(`\`${timeZone}\` in \`${text}\` is not a time zone`);
  const hours = { ...(fromMin === undefined ? {} : { fromMin }), ...(toMin === undefined ? {} : { toMin }) };
  return ok({ from, to, ...hours, timeZone });
}

/** Minutes since midnight of `18:30`; NaN: no day has that time. */
function minutesOf(clock: string | undefined): number | undefined {
  if (clock === undefined) return undefined;
  const [hours = 0, minutes = 0] = clock.split(":").map(Number);
  const sum = hours * 60 + minutes;
  return minutes > 59 || sum > LAST_MINUTE ? Number.NaN : sum;
}

/** May a release begin now? If not: why, and when it may. `now` in epoch ms. */
export function openness(rules: DeployRules, now: number): Openness {
  const reason = whyClosed(rules, now);
  if (reason === null) return { open: true };
  return { open: false, reason, opensAt: nextOpening(rules, now) };
}

/** Why no release may begin now, and when the next may; null: it may. */
export function closedWords(rules: DeployRules, now: number): string | null {
  const state = openness(rules, now);
  if (state.open) return null;
  const next = state.opensAt === null ? "not within 60 days" : moment(state.opensAt);
  return `${state.reason}; next opening: ${next}. In an emergency: --override`;
}

function whyClosed(rules: DeployRules, now: number): string | null {
  const frozen = rules.freeze.find((freeze) => isFrozen(freeze, now));
  if (frozen) return `releases are frozen ${describeFreeze(frozen)}`;
  if (rules.allow.length === 0 || rules.allow.some((window) => isIn(window, now))) return null;
  return `releases may begin ${rules.allow.map(describe).join(" or ")}`;
}

/** Nothing opens but at a window's beginning, at a freeze's end, or as clocks change: those moments are all there is to look at. */
function nextOpening(rules: DeployRules, now: number): number | null {
  const moments = [
    ...rules.allow.flatMap((window) => beginnings(window, now)),
    ...rules.freeze.flatMap((freeze) => thawsAt(freeze, now)),
  ];
  const open = moments.filter(
    (at) => at > now && at <= now + SEARCH_DAYS * DAY && whyClosed(rules, at) === null,
  );
  return open.length > 0 ? Math.min(...open) : null;
}

const beginnings = ({ timeZone, fromMin }: DeployWindow, now: number) => each(timeZone, fromMin, now);

/** A time of day, each day from now on. */
function each(timeZone: string, minute: number, now: number): number[] {
  // Dates, not stretches of 24 hours: a day whose clocks change is longer or shorter.
  const { date } = wallClock(timeZone, now);
  return Array.from({ length: SEARCH_DAYS + 2 }, (_, day) =>
    atWallClock(timeZone, dateAfter(date, day - 1), minute),
  ).flat();
}

const dateAfter = (date: string, days: number): string =>
  new Date(Date.parse(`${date}T00:00:00Z`) + days * DAY).toISOString().slice(0, 10);

const thawsAt = (freeze: Freeze, now: number): number[] =>
  "days" in freeze
    ? each(freeze.timeZone, freeze.toMin, now)
    : atWallClock(freeze.timeZone, freeze.to, freeze.toMin ?? LAST_MINUTE);

/**
 * Epoch ms at which a zone's clocks may show a date and minute: once as a rule, twice where they are set back, and where they
 * are set forward past it, the moment of the change.
 */
function atWallClock(timeZone: string, date: string, minute: number): number[] {
  const wall = Date.parse(`${date}T00:00:00Z`) + minute * MINUTE;
  const [before, after] = [offsetMs(timeZone, wall - DAY), offsetMs(timeZone, wall + DAY)];
  if (before === after) return [wall - before];
  return [wall - before, wall - after, changeWithin(timeZone, wall - DAY, wall + DAY)];
}

/** The minute in which a zone's offset changes between two moments that have different ones. */
function changeWithin(timeZone: string, from: number, to: number): number {
  const before = offsetMs(timeZone, from);
  let [low, high] = [Math.floor(from / MINUTE), Math.ceil(to / MINUTE)];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (offsetMs(timeZone, middle * MINUTE) === before) low = middle;
    else high = middle;
  }
  return high * MINUTE;
}

function offsetMs(timeZone: string, at: number): number {
  const { date, minute } = wallClock(timeZone, at);
  return Date.parse(`${date}T00:00:00Z`) + minute * MINUTE - Math.floor(at / MINUTE) * MINUTE;
}

function isIn(window: DeployWindow, now: number): boolean {
  const { day, minute } = wallClock(window.timeZone, now);
  if (window.fromMin < window.toMin) {
    return window.days.includes(day) && minute >= window.fromMin && minute < window.toMin;
  }
  // Past midnight it still belongs to the day on which it began.
  if (minute >= window.fromMin) return window.days.includes(day);
  return minute < window.toMin && window.days.includes((day + 6) % 7);
}

function isFrozen(freeze: Freeze, now: number): boolean {
  if ("days" in freeze) return isIn(freeze, now);
  const { date, minute } = wallClock(freeze.timeZone, now);
  const { from, to, fromMin = 0, toMin = LAST_MINUTE } = freeze;
  const hasBegun = date > from || (date === from && minute >= fromMin);
  return hasBegun && (date < to || (date === to && minute < toMin));
}

function wallClock(timeZone: string, now: number): { day: number; minute: number; date: string } {
  const parts = new Intl.DateTimeFormat("en-US", {
    timeZone,
    hourCycle: "h23",
    weekday: "short",
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
  }).formatToParts(now);
  const part = (type: string) => parts.find((candidate) => candidate.type === type)?.value ?? "";
  return {
    day: DAYS.indexOf(part("weekday")),
    minute: Number(part("hour")) * 60 + Number(part("minute")),
    date: `${part("year")}-${part("month")}-${part("day")}`,
  };
}

function parseDays(text: string): number[] | undefined {
  const days: number[] = [];
  for (const part of text.split(",")) {
    const [from = -1, to = from] = part
      .split("-")
      .map((name) => DAYS.findIndex((day) => day.toLowerCase() === name.toLowerCase()));
    if (from < 0 || to < 0 || part.split("-").length > 2) return undefined;
    for (let day = from; ; day = (day + 1) % 7) {
      days.push(day);
      if (day === to) break;
    }
  }
  return [...new Set(days)];
}

const clock = (minutes: number): string =>
  `${String(Math.floor(minutes / 60)).padStart(2, "0")}:${String(minutes % 60).padStart(2, "0")}`;
const describe = (window: DeployWindow): string =>
  `${window.days.map((day) => DAYS[day]).join(",")} ${clock(window.fromMin)}-${clock(window.toMin)} ${window.timeZone}`;

function describeFreeze(freeze: Freeze): string {
  if ("days" in freeze) return describe(freeze);
  const { from, to, fromMin, toMin, timeZone } = freeze;
  const at = (date: string, minute: number | undefined) =>
    minute === undefined ? date : `${date} ${clock(minute)}`;
  return `${at(from, fromMin)} to ${at(to, toMin)} (${timeZone})`;
}

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en-US", { timeZone: name });
    return true;
  } catch {
    return false; // RangeError is how Intl says that it knows no such zone.
  }
}
