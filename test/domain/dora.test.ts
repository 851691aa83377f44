import { expect, test } from "vitest";
import type { Approval } from "../../src/domain/approval/approval.ts";
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
  weightBp: 0,
  stepIndex: 0,
  stepSince: at + MINUTE,
  override: false,
  approval: null,
  strategy: { kind: "blue-green" },
  committedAt: at - HOUR,
  ...more,
});

/** Before its first visitor. */
const approvalOf = (given: Approval["given"]): Approval => ({
  ...{ gate: "traffic", step: null, subject: "sha256:1", needed: 1, askedAt: MINUTE, deadlineAt: 24 * HOUR },
  given,
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

test("what nobody let in, or only copies of requests reached, is no change: not while it waits, nor once it was rejected", () => {
  const waiting = {
    servingAt: null,
    stepSince: null,
    state: "shifting",
    timings: { preparing: MINUTE },
  } as const;
  const approval = approvalOf([]);
  const mirrored = {
    kind: "canary",
    analysis: {},
    steps: [
      { kind: "weight", weightBp: 0, bakeMs: HOUR, match: null, mirrorBp: 10_000 },
      { kind: "weight", weightBp: 10_000, bakeMs: 0, match: null, mirrorBp: 0 },
    ],
  } as unknown as Delivered["strategy"];
  const over = {
    state: "rolled_back",
    timings: { preparing: MINUTE, shifting: HOUR },
    endedAt: 2 * HOUR,
  } as const;
  const unseen = [
    release(0, { ...waiting, approval }),
    release(1, { ...waiting, ...over, approval }),
    release(2, { ...waiting, ...over, approval, strategy: { kind: "rolling", maxUnavailable: 1 } as never }),
    // Held at 0 % by \`deploy --hold\`.
    release(3, { ...waiting, ...over }),
    release(4, { ...over, servingAt: null, strategy: mirrored }),
  ];
  expect(doraOf(unseen, 1)).toMatchObject({ changes: 0, failures: 0, changeFailureRate: null });
  const seen = [
    release(5, { ...over, servingAt: null, strategy: mirrored, stepIndex: 1 }),
    // Its weights were set by hand.
    release(6, { ...waiting, ...over, override: true }),
  ];
  expect(doraOf([...unseen, ...seen], 1)).toMatchObject({ changes: 2, failures: 2 });
});

test("the time to restore begins when it was approved, not when it waited for that", () => {
  const given = [{ actor: "ann", identities: ["ann"], at: 20 * HOUR }];
  const approval = approvalOf(given);
  const back = release(0, {
    ...{ state: "rolled_back", servingAt: null, approval, endedAt: 21 * HOUR },
    timings: { preparing: MINUTE, shifting: 21 * HOUR - MINUTE },
  });
  expect(doraOf([back], 1).timeToRestore).toMatchObject({ medianMs: HOUR });
});
