import fc from "fast-check";
import { Temporal } from "temporal-polyfill";
import { describe, expect, test } from "vitest";
import { type DeployRules, openness, parseFreeze, parseWindow } from "../../src/domain/windows.ts";

const at = (iso: string) => Date.parse(iso);

function rules(allow: string[], freeze: string[] = []): DeployRules {
  const windows = allow.map((text) => parseWindow(text));
  const freezes = freeze.map((text) => parseFreeze(text));
  return {
    allow: windows.map((parsed) => (parsed.ok ? parsed.value : expect.fail(parsed.error))),
    freeze: freezes.map((parsed) => (parsed.ok ? parsed.value : expect.fail(parsed.error))),
  };
}

describe("deploy windows", () => {
  const office = rules(["Mon-Fri 08:00-18:00 Asia/Dhaka"]);

  test.each([
    ["2026-11-23T02:00:00Z", true], // Monday 08:00 in Dhaka (+06:00)
    ["2026-11-23T01:59:00Z", false],
    ["2026-11-23T11:59:00Z", true],
    ["2026-11-23T12:00:00Z", false],
    ["2026-11-22T05:00:00Z", false], // Sunday
  ])("at %s a window of another zone is open: %s", (time, open) => {
    expect(openness(office, at(time)).open).toBe(open);
  });

  test("closed, it says when it opens next", () => {
    const closed = openness(office, at("2026-11-27T13:00:00Z")); // Friday evening
    expect(closed).toMatchObject({ open: false, opensAt: at("2026-11-30T02:00:00Z") });
  });

  test("finds an opening of minutes, at any minute", () => {
    const short = rules(["Wed 08:05-08:10 Asia/Kathmandu"]); // +05:45
    const closed = openness(short, at("2026-11-23T12:00:00Z"));
    expect(closed).toMatchObject({ open: false, opensAt: at("2026-11-25T02:20:00Z") });
  });

  test("a freeze without windows ends at midnight of its own zone", () => {
    const frozen = rules([], ["2026-12-24..2026-12-26 America/New_York"]);
    expect(openness(frozen, at("2026-12-25T00:00:00Z"))).toMatchObject({
      open: false,
      opensAt: at("2026-12-27T05:00:00Z"),
    });
  });

  test.each([
    ["2026-12-24 12:00..2026-12-27 06:00 Europe/Berlin", "2026-12-24T10:59:00Z", null],
    ["2026-12-24 12:00..2026-12-27 06:00 Europe/Berlin", "2026-12-24T11:00:00Z", "2026-12-27T05:00:00Z"],
    ["2026-12-24 12:00..2026-12-27 06:00 Europe/Berlin", "2026-12-27T05:00:00Z", null],
    ["2026-12-24 18:00..2026-12-26 America/New_York", "2026-12-26T12:00:00Z", "2026-12-27T05:00:00Z"],
    ["2026-12-24 12:00-18:00", "2026-12-24T13:00:00Z", "2026-12-24T18:00:00Z"],
    ["Fri 15:00-24:00 Europe/Berlin", "2026-11-27T15:00:00Z", "2026-11-27T23:00:00Z"],
    ["Fri 22:00-06:00 UTC", "2026-11-28T03:00:00Z", "2026-11-28T06:00:00Z"],
    ["Mon-Fri 11:30-13:00 Asia/Kathmandu", "2026-11-27T08:00:00Z", null],
    // 02:30 is missing on that night.
    ["Sun 01:00-02:30 Europe/Berlin", "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"],
  ])("a freeze by the hour: %s at %s thaws %s", (freeze, time, thaw) => {
    const state = openness(rules([], [freeze]), at(time));
    expect(state.open ? null : new Date(state.opensAt ?? 0)).toEqual(thaw === null ? null : new Date(thaw));
  });

  test("a freeze in the middle of a window opens it again, and says its hours and zone", () => {
    const lunch = rules(["Mon-Fri 08:00-18:00 UTC"], ["Mon-Fri 12:00-13:00 UTC"]);
    const closed = openness(lunch, at("2026-11-27T12:30:00Z"));
    expect(closed).toEqual({
      open: false,
      reason: "releases are frozen Mon,Tue,Wed,Thu,Fri 12:00-13:00 UTC",
      opensAt: at("2026-11-27T13:00:00Z"),
    });
  });

  test("follows summer time: 09:00 in Berlin is 08:00 UTC in winter and 07:00 UTC in summer", () => {
    const berlin = rules(["Mon-Sun 09:00-10:00 Europe/Berlin"]);
    expect(openness(berlin, at("2026-01-15T08:30:00Z")).open).toBe(true);
    expect(openness(berlin, at("2026-07-15T07:30:00Z")).open).toBe(true);
    expect(openness(berlin, at("2026-07-15T08:30:00Z")).open).toBe(false);
  });

  test("a window past midnight belongs to the day on which it began", () => {
    const night = rules(["Fri 22:00-04:00 UTC"]);
    expect(openness(night, at("2026-11-28T03:00:00Z")).open).toBe(true); // Saturday 03:00
    expect(openness(night, at("2026-11-27T03:00:00Z")).open).toBe(false); // Friday 03:00
  });

  test("a freeze closes an open window, and the next opening is after it", () => {
    const frozen = rules(["Mon-Fri 08:00-18:00 UTC"], ["2026-12-24..2027-01-03"]);
    const closed = openness(frozen, at("2026-12-28T09:00:00Z"));
    expect(closed).toMatchObject({ open: false, opensAt: at("2027-01-04T08:00:00Z") });
    expect(closed.open === false && closed.reason).toContain("frozen 2026-12-24 to 2027-01-03");
  });

  test("no rule at all means always open", () => {
    expect(openness({ allow: [], freeze: [] }, 0)).toEqual({ open: true });
  });

  test("a freeze without end in sight opens never, and says so with null", () => {
    const closed = openness(rules([], ["2026-01-01..2027-12-31"]), at("2026-06-01T00:00:00Z"));
    expect(closed).toMatchObject({ open: false, opensAt: null });
  });

  test.each([
    ["Mon-Fri 8-18", "not a window"],
    ["Mon-Fri 08:00-08:00", "never opens"],
    ["Mon-Fry 08:00-18:00", "is not a day"],
    ["Mon-Fri 08:00-25:00", "beyond 24:00"],
    ["Mon-Fri 08:00-18:00 Mars/Base", "not a time zone"],
  ])("refuses %s: %s", (text, why) => {
    const parsed = parseWindow(text);
    expect(parsed.ok ? "" : parsed.error).toContain(why);
  });

  test.each([
    ["2026-13-01", "is not a date"],
    ["2026-02-02..2026-02-01", "ends before"],
    ["Christmas", "is not a date"],
    ["2026-12-24 18:00", "is not a date"],
    ["2026-12-24 18:00-12:00", "ends before"],
    ["2026-12-24 12:00..2026-12-24 12:00", "ends before"],
    ["2026-12-24 24:30..2026-12-25", "beyond 24:00"],
    ["Fri 15:00-24:00 Mars/Phobos", "is not a time zone"],
    ["Fry 15:00-24:00", "is not a day"],
  ])("refuses the freeze %s: %s", (text, why) => {
    const parsed = parseFreeze(text);
    expect(parsed.ok ? "" : parsed.error).toContain(why);
  });
});

describe("deploy windows, held against another implementation of time zones", () => {
  const DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
  const QUARTER = 900_000;
  const clock = (minute: number) =>
    `${String(Math.floor(minute / 60)).padStart(2, "0")}:${String(minute % 60).padStart(2, "0")}`;
  /** Around a change of the clocks, if the zone has any then. */
  const ZONES = {
    "Europe/Berlin": ["2026-03-29", "2026-10-25"],
    "America/New_York": ["2026-03-08", "2026-11-01"],
    "Australia/Lord_Howe": ["2026-04-05", "2026-10-04"],
    "America/Santiago": ["2026-04-05", "2026-09-06"],
    "Asia/Kathmandu": ["2026-06-01"],
    UTC: ["2026-06-01"],
  } as const;
  const zones = Object.entries(ZONES).flatMap(([zone, dates]) => dates.map((date) => ({ zone, date })));
  const cases = fc.record({
    at: fc.constantFrom(...zones),
    days: fc.subarray(DAYS, { minLength: 1 }),
    from: fc.integer({ min: 0, max: 95 }).map((quarter) => quarter * 15),
    length: fc.integer({ min: 1, max: 95 }).map((quarter) => quarter * 15),
    quarters: fc.integer({ min: -192, max: 96 }),
  });

  function isOpen(
    time: number,
    { zone, days, from, length }: { zone: string; days: string[]; from: number; length: number },
  ) {
    const there = Temporal.Instant.fromEpochMilliseconds(time).toZonedDateTimeISO(zone);
    const minute = there.hour * 60 + there.minute;
    const isOn = (weekday: number) => days.includes(DAYS[weekday - 1] ?? "");
    if (minute >= from) return minute < from + length && isOn(there.dayOfWeek);
    return (
      from + length > 1_440 && minute < from + length - 1_440 && isOn(there.subtract({ days: 1 }).dayOfWeek)
    );
  }

  test("are open when they say, and open next when they say, across every change of the clocks", () => {
    fc.assert(
      fc.property(cases, ({ at: { zone, date }, days, from, length, quarters }) => {
        const window = { zone, days, from, length };
        const parsed = rules([`${days.join(",")} ${clock(from)}-${clock((from + length) % 1_440)} ${zone}`]);
        const now = Math.floor(Date.parse(`${date}T00:00:00Z`) / QUARTER) * QUARTER + quarters * QUARTER;
        const state = openness(parsed, now);
        expect(state.open).toBe(isOpen(now, window));
        if (state.open) return;
        let next = now;
        while (!isOpen(next, window)) next += QUARTER;
        expect(new Date(state.opensAt ?? 0).toISOString()).toBe(new Date(next).toISOString());
      }),
      { numRuns: 100 },
    );
  });
});
