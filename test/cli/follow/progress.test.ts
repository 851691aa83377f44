import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  apply,
  begin,
  liveView,
  logLine,
  stillLine,
  truncate,
  turnOf,
  waitsFor,
} from "../../../cli/follow/progress.ts";
import { createReporter } from "../../../cli/follow/reporter.ts";
import { Output } from "../../../cli/io/output.ts";
import { plain } from "../../../cli/io/print.ts";
import { ConnectionError } from "../../../src/client/index.ts";
import type { ReleaseView } from "../../../src/protocol/api/releases.ts";
import {
  anEnvironment,
  anEvent,
  anInstance,
  aRelease,
  at,
  GOOD_EVENTS,
  stateEvent,
} from "../../support/cli/fake-api.ts";
import { aCanary, PAUSED } from "../scenarios.ts";

const after = (n: number) => GOOD_EVENTS.slice(0, n).reduce(apply, begin(aRelease(), "v1"));
const view = (n: number, columns = 100) => liveView(after(n), { elapsedMs: 5_100, columns, paint: plain });

describe("the live view", () => {
  test("shows where it is, the split, each instance and what it waits for", () => {
    expect(view(3)).toEqual([
      "shop/production v2  starting  0:05",
      "  ✔ queued ✔ preparing ● starting ○ verifying ○ shifting ○ settling",
      "  ░░░░░░░░░░░░░░░░░░░░░░░░ v2 0%, v1 100%",
      "  ● web-1 slot 3  starting",
      "  waits for web-1 slot 3",
    ]);
  });

  test("follows the events to the full split", () => {
    expect(view(7)[2]).toBe("  ████████████████████████ v2 100%, v1 0%");
    expect(view(7)[3]).toBe("  ✔ web-1 slot 3  ready");
  });

  test("doesn't go back to the past while old events are replayed", () => {
    const starting = begin(aRelease({ state: "starting" }), "v1");
    expect(apply(starting, stateEvent(1, 50, "preparing", "")).release.state).toBe("starting");
    expect(apply(starting, stateEvent(1, 50, "rolling_back", "")).release.state).toBe("rolling_back");
  });

  test("never wraps: a wrapped line would break the redraw", () => {
    for (const line of view(3, 30)) expect(line.length).toBeLessThan(30);
    expect(truncate("\u001b[32mabcdef\u001b[39m", 3)).toBe("\u001b[32mabc\u001b[39m");
  });

  test("stays small with many instances, and keeps those that are not ready in sight", () => {
    const instances = Array.from({ length: 50 }, (_, i) =>
      anInstance({ id: `ins_${i}`, slot: i, ready: i !== 40 }),
    );
    const lines = liveView(begin(aRelease({ state: "starting", instances }), undefined), {
      elapsedMs: 0,
      columns: 80,
      paint: plain,
    });
    expect(lines.length).toBeLessThanOrEqual(12);
    expect(lines.join("\n")).toContain("slot 40");
    expect(lines.join("\n")).toContain("and 49 more, 49 ready");
  });
});

describe("the live view of a canary", () => {
  const words = "not enough data yet: errors 0 % against 0.2 % on stable";
  const verdict = { verdict: "continue", reason: "low-traffic", words, at: at(70_000) };
  const first = { index: 0, of: 3, label: "10 % for 15 m", since: at(10_000) };
  const lines = (over: Partial<ReleaseView>, elapsedMs: number) =>
    liveView(begin(aCanary({ step: first, ...over }), "v1"), { elapsedMs, columns: 120, paint: plain });

  test("counts its step down, and shows the split and the judge's words", () => {
    expect(lines({ verdict }, 70_000)).toEqual([
      "shop/production v2  shifting  1:10",
      "  ✔ queued ✔ preparing ✔ starting ✔ verifying ● shifting ○ settling",
      "  ██░░░░░░░░░░░░░░░░░░░░░░ v2 10%, v1 90%",
      "  step 1 of 3: 10 % for 15 m · 14:00 left",
      `  judge: ${words}`,
      "  waits for 10 % for 15 m, 14:00 left",
    ]);
  });

  test("says that the time is up and proof is awaited, not that 0:00 is left", () => {
    const [, , , step, wait] = lines({}, 2_000_000);
    expect(step).toBe("  step 1 of 3: 10 % for 15 m · time is up, waits for proof");
    expect(wait).toBe("  waits for proof that it is no worse");
  });

  test("says in a log what is missing for a proof", () => {
    const progress = begin(aCanary({ step: first, verdict }), "v1");
    expect(stillLine(progress, 2_000_000)).toBe(
      `  33:20  still shifting: waits for proof that it is no worse (${words})`,
    );
  });

  test("names who paused it, and that it waits for a person", () => {
    const [, , , step, wait] = lines({ paused: PAUSED, step: aCanary().step }, 900_000);
    expect(step).toBe("  step 2 of 3: until it is promoted · paused by sluice");
    expect(wait).toBe("  waits for a person: waits to be promoted");
  });

  test("counts a pause down that ends by itself", () => {
    const [, , , step] = lines({ paused: { ...PAUSED, until: at(960_000) } }, 900_000);
    expect(step).toContain("1:00 left · paused by sluice");
  });

  test("counts the instances of a rolling release instead, and takes one that serves for ready", () => {
    const instances = [
      anInstance({ id: "a", state: "serving", ready: true }),
      anInstance({ id: "b", state: "starting", ready: false }),
    ];
    const rolling = begin(aRelease({ strategy: "rolling", state: "shifting", weight: 50, instances }), "v1");
    const data = { instance: "b", host: "web-1", slot: 4, state: "serving", cause: null };
    const view = liveView(apply(rolling, anEvent({ type: "instance.state", data })), {
      elapsedMs: 0,
      columns: 80,
      paint: plain,
    });
    expect(view).toContain("  rolling: 2 of its instances serve");
    expect(view).toContain("  ✔ web-1 slot 4  serving");
  });

  test("in a log: still there, in which step, for how long", () => {
    const progress = begin(aCanary({ step: first }), "v1");
    expect(stillLine(progress, 70_000)).toBe("   1:10  still shifting: waits for 10 % for 15 m, 14:00 left");
  });
});

describe("what it waits for", () => {
  test("names the instances that are not ready, with the cause", () => {
    const cause = "startup probe answered 503";
    const event = anEvent({
      type: "instance.state",
      data: { instance: "ins_1", host: "web-1", slot: 3, state: "starting", cause },
    });
    expect(waitsFor(apply(apply(begin(aRelease(), "v1"), stateEvent(1, 0, "starting", "")), event))).toBe(
      "web-1 slot 3 (startup probe answered 503)",
    );
  });

  test("is the last word on work in progress, until the state changes", () => {
    const pulling = apply(
      apply(begin(aRelease(), "v1"), stateEvent(1, 0, "preparing", "")),
      anEvent({ type: "release.progress", message: "web-1: 40 of 134 MB" }),
    );
    expect(waitsFor(pulling)).toBe("web-1: 40 of 134 MB");
    expect(waitsFor(apply(pulling, stateEvent(3, 0, "verifying", "")))).toBe(
      "each new instance to answer through its tunnel",
    );
  });
});

describe("the append-only log", () => {
  test("leaves out how far a pull is, and stamps lines by control's clock", () => {
    const progress = begin(aRelease(), "v1");
    expect(logLine(progress, anEvent({ type: "release.progress", data: { job: "pull-1" } }))).toBeUndefined();
    expect(logLine(progress, stateEvent(1, 65_000, "rolling_back", "v3 rolls back"))).toContain(
      "rolling back v3 rolls back",
    );
    expect(logLine(progress, stateEvent(1, 65_000, "shifting", "0% → 100%"))).toBe(
      "   1:05  shifting    0% → 100%",
    );
  });

  test("says it is still there, and for what it waits", () => {
    expect(stillLine(after(3), 35_000)).toBe("  35.0s  still starting: waits for web-1 slot 3");
  });
});

describe("a queued release's turn", () => {
  const lock = { holder: "ann", reason: "freeze", fence: 1, since: at(0), expiresAt: at(1_000) };
  const active = aRelease({ id: "rel_1", version: "v1", state: "shifting" });
  const queued = ["rel_1", "rel_2", "rel_3"].map((release) => ({
    release,
    version: release.replace("rel_", "v"),
  }));
  test.each([
    ["a person's lock", { lock }, "an unlock: ann locked it (freeze)"],
    ["the release on its way, which holds the lock", { lock, active }, "v1, which is shifting"],
    ["those queued before it, not after", { queued }, "v1"],
    ["nothing that is known", { queued: queued.slice(1), active: aRelease() }, undefined],
  ])("waits for %s", (_what, over, words) => {
    expect(turnOf(aRelease(), anEnvironment([["v1", 100]], over))).toBe(words);
  });

  test("is not held by a lock if it is a rollback", () => {
    expect(turnOf(aRelease({ kind: "rollback" }), anEnvironment([["v1", 100]], { lock }))).toBeUndefined();
  });
});

describe("the reporter", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  const start = (stderrIsTty: boolean, env: Record<string, string> = {}) => {
    const written: string[] = [];
    const terminal = {
      stdout: { isTTY: false, write: () => expect.fail("stdout is for results") },
      stderr: { isTTY: stderrIsTty, columns: 80, write: (text: string) => void written.push(text) },
      env: { TERM: "xterm", NO_COLOR: "1", ...env },
    };
    const out = new Output(terminal, "off");
    const reporter = createReporter({ out, release: aRelease(), was: "v1", now: Date.now });
    return { reporter, out, written };
  };

  test("says one line every 30 s in a log that would be silent, with the time passed", () => {
    const { reporter, written } = start(false);
    vi.advanceTimersByTime(61_000);
    reporter.stop();
    vi.advanceTimersByTime(60_000);
    expect(written).toEqual([
      "  30.0s  still queued: waits for its turn\n",
      "   1:00  still queued: waits for its turn\n",
    ]);
  });

  test("says at once what a queued release waits for, and once as long as it stays the same", () => {
    const { reporter, written } = start(false);
    for (let beat = 0; beat < 3; beat++) reporter.refresh(aRelease(), "an unlock: ann locked it (freeze)");
    reporter.refresh(aRelease(), "v1, which is shifting");
    reporter.stop();
    expect(written).toEqual([
      "   0.0s  still queued: waits for an unlock: ann locked it (freeze)\n",
      "   0.0s  still queued: waits for v1, which is shifting\n",
    ]);
  });

  test("a line of news puts the next heartbeat off", () => {
    const { reporter, written } = start(false);
    vi.advanceTimersByTime(29_000);
    reporter.item({ kind: "event", event: stateEvent(1, 29_000, "starting", "go") });
    vi.advanceTimersByTime(29_000);
    expect(written).toEqual(["  29.0s  starting    go\n"]);
    reporter.stop();
  });

  test("says once that contact is lost, and once that it is back", () => {
    const { reporter, written } = start(false);
    const error = new ConnectionError("reset", { url: "x" });
    for (let i = 0; i < 3; i++) reporter.item({ kind: "lost", error, retryInMs: 250 });
    reporter.item({ kind: "heartbeat" });
    reporter.item({ kind: "heartbeat" });
    reporter.stop();
    expect(written).toEqual(["   0.0s  no contact: reset\n", "         back in contact\n"]);
  });

  test.each([
    ["a terminal", true, {}, true],
    ["a terminal in CI", true, { CI: "true" }, false],
    ["a dumb terminal", true, { TERM: "dumb" }, false],
    ["no terminal", false, {}, false],
  ])("%s: redraws %s", (_where, tty, env, redraws) => {
    const { reporter, written } = start(tty, env);
    reporter.item({ kind: "event", event: stateEvent(1, 0, "starting", "go") });
    reporter.stop();
    expect(written.join("").includes("\u001b[")).toBe(redraws);
  });

  test("takes its region away at the end, so that only lines remain", () => {
    const { reporter, out, written } = start(true);
    reporter.stop();
    out.say("the final block");
    const drawn = written[0]?.split("\n").length ?? 0;
    expect(written[1]).toBe(`\r\u001b[${drawn - 1}A\u001b[0J`);
    expect(written[2]).toBe("the final block\n");
  });
});
