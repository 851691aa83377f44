import { expect, test } from "vitest";
import { type Delivered, doraOf } from "../../src/domain/dora.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** Asked for at `at`; a minute until traffic, and all of it ten minutes later. */
const release = (at: number, more: Partial<Delivered> = {}): Delivered => ({
  id: `rel_${at}`,
  kind: "deploy",
  state: "superseded",
  createdAt: at,
  servingAt: at + 11 * MINUTE,
  endedAt: null,
  stateSince: at,
  timings: { queued: 0, preparing: MINUTE, shifting: 10 * MINUTE },
  committedAt: at - HOUR,
  ...more,
});

test("deployments are those that got all traffic; what failed before it is none, and no failed change", () => {
  const unseen = release(0, { state: "failed", servingAt: null, timings: { preparing: MINUTE } });
  expect(doraOf([unseen, release(HOUR), release(2 * HOUR)], 4)).toMatchObject({
    deployments: 2,
    perDay: 0.5,
    changes: 2,
    failures: 0,
    changeFailureRate: 0,
    timeToRestore: null,
  });
});

test("lead time is from the commit to all traffic, of those whose commit is known, and not of a clock that is ahead", () => {
  const known = [2, 4, 9].map((hours, n) => release(n * HOUR, { committedAt: n * HOUR - hours * HOUR }));
  const others = [release(9, { committedAt: null }), release(10, { committedAt: 99 * HOUR })];
  const leadTime = { medianMs: 4 * HOUR + 11 * MINUTE, p90Ms: 9 * HOUR + 11 * MINUTE, of: 3 };
  expect(doraOf([...known, ...others], 30).leadTime).toEqual(leadTime);
});

test("a canary that was taken back is a failed change, restored when its traffic was gone", () => {
  const back = release(0, {
    state: "rolled_back",
    servingAt: null,
    endedAt: 7 * MINUTE,
    timings: { preparing: MINUTE, shifting: 5 * MINUTE, rolling_back: MINUTE },
  });
  expect(doraOf([back, release(HOUR)], 1)).toMatchObject({
    changes: 2,
    changeFailureRate: 0.5,
    timeToRestore: { medianMs: 5 * MINUTE, of: 1 },
  });
});

test("one that a rollback of its own replaced is a failed change, one that the next deployment replaced is not", () => {
  const bad = release(0);
  const rollback = release(HOUR, { kind: "rollback", servingAt: HOUR + MINUTE });
  expect(doraOf([rollback, bad], 1)).toMatchObject({ failures: 1, timeToRestore: { medianMs: HOUR } });
  expect(doraOf([bad, release(30 * MINUTE), rollback], 1)).toMatchObject({ changes: 2, failures: 1 });
  expect(doraOf([bad, release(HOUR)], 1).failures).toBe(0);
});

test("what fails now counts, and is not restored", () => {
  const rollback = release(HOUR, { kind: "rollback", state: "starting", servingAt: null });
  expect(doraOf([release(0), rollback], 1)).toMatchObject({ failures: 1, timeToRestore: null });
});

test("nothing in the window is no rate at all", () => {
  const nothing = { deployments: 0, perDay: 0, leadTime: null, changeFailureRate: null, timeToRestore: null };
  expect(doraOf([], 30)).toMatchObject(nothing);
});
