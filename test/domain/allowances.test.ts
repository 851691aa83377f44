import { expect, test } from "vitest";
import { checkAllowances, type DayOfUse } from "../../src/domain/allowances.ts";

const NOON = Date.UTC(2026, 10, 28, 12);
const calm: DayOfUse = {
  now: NOON,
  hosts: 2,
  visitors: 10_000,
  objectCalls: 20_000,
  objectRows: 5_000,
  tableCopies: 20,
  releases: 2,
};
const check = (id: string, over: Partial<DayOfUse> = {}) =>
  checkAllowances({ ...calm, ...over }).find((one) => one.id === id);

test("a hobby's day warns of nothing", () => {
  expect(checkAllowances(calm).map(({ status }) => status)).toEqual(["ok", "ok", "ok", "ok", "ok"]);
});

test("polls and the schedule count as requests beside the visitors'", () => {
  expect(check("plan.requests")?.detail).toBe("about 12,160 of 100,000 Worker requests used today");
});

test("a host's pings count as requests to objects, twenty as one, and so does control's schedule", () => {
  expect(check("plan.object_requests")?.detail).toBe(
    "about 20,864 of 100,000 Durable Object requests used today",
  );
});

test.each([
  ["plan.requests", { visitors: 85_000 }, "error 1027"],
  ["plan.object_requests", { objectCalls: 81_000 }, "no release, rollback"],
  ["plan.object_rows", { objectRows: 81_000 }, "no release, rollback"],
  ["plan.database_rows", { releases: 300 }, "agents' polls fail"],
  ["plan.table_copies", { tableCopies: 900 }, "serves by an old one"],
])("%s warns before it ends, and says what stops", (id, over, stops) => {
  expect(check(id, over)).toMatchObject({
    status: "warn",
    detail: expect.stringContaining(stops),
    fix: expect.stringContaining("Paid plan"),
  });
});

test("a pace that ends it before the day does is warned of, with the hour", () => {
  expect(check("plan.object_rows", { objectRows: 60_000 })).toMatchObject({
    status: "warn",
    detail: expect.stringContaining("ends at 20:00 UTC"),
  });
  expect(check("plan.object_rows", { objectRows: 45_000 })?.status).toBe("ok");
  // A minute after midnight one busy second says nothing.
  expect(check("plan.object_rows", { objectRows: 500, now: NOON - 43_140_000 })?.status).toBe("ok");
});

test("more than Free gives is a Paid account's, and no trouble", () => {
  expect(check("plan.requests", { visitors: 5_000_000 })).toMatchObject({ status: "skip", fix: null });
});
