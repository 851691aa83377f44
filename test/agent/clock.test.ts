import { expect, test } from "vitest";
import { outagePause } from "../../agent/clock.ts";

test("a control that does not answer is tried every 2 s for two minutes, and every half minute in the long run", () => {
  const pauses = Array.from({ length: 200 }, (_, tries) => outagePause(tries));
  const quick = pauses.slice(0, 75);
  expect(Math.max(...quick)).toBeLessThanOrEqual(2_000);
  expect(quick.reduce((sum, ms) => sum + ms, 0)).toBeGreaterThan(90_000);
  for (const ms of pauses.slice(-50)) {
    expect(ms).toBeGreaterThanOrEqual(24_000);
    expect(ms).toBeLessThanOrEqual(36_000);
  }
});
