import { describe, expect, it } from "vitest";
import type { ScheduledSpec } from "../../../src/domain/processes/process.ts";
import type { RunFacts } from "../../../src/domain/processes/run.ts";
import { nextTime, parseSchedule } from "../../../src/domain/processes/schedule.ts";
import { aSpec, DIGEST } from "../rollout/spec.ts";
import { type Job, World } from "../rollout/world.ts";

const SECOND = 1_000;
const MINUTE = 60_000;
const HOUR = 3_600_000;

function scheduled(text: string, change: Partial<ScheduledSpec> = {}): ScheduledSpec {
  const parsed = parseSchedule(text);
  if (!parsed.ok) throw new Error(parsed.error);
  const rest = { overlap: "skip", deadlineMs: 10 * MINUTE, ...change } as const;
  return { kind: "scheduled", command: ["npm", "run", "report"], env: {}, schedule: parsed.value, ...rest };
}

/** v1 is live, and its report comes at the full minute. */
function live(text = "* * * * * UTC", change: Partial<ScheduledSpec> = {}): World {
  const world = new World();
  world.spec = aSpec({ processes: { report: scheduled(text, change) } });
  world.deploy();
  world.run(world.now + MINUTE);
  expect(world.state("v1")).toBe("live");
  return world;
}

const isRun = (job: Job) => job.kind === "command";
const states = (world: World) => world.runs.map(({ state }) => state);
const dueTimes = (runs: readonly RunFacts[]) => runs.map(({ dueAt }) => dueAt ?? 0);

describe("a scheduled process", () => {
  it("runs once at each of its times, in the release that is live, with its end in its history", () => {
    const world = live();
    const before = world.runs.length;
    world.run(world.now + 5 * MINUTE);
    const runs = world.runs.slice(before);
    expect(runs).toHaveLength(5);
    expect(runs.every(({ state, exitCode }) => state === "done" && exitCode === 0)).toBe(true);
    expect(dueTimes(runs).every((at) => at % MINUTE === 0)).toBe(true);
    expect(new Set(dueTimes(world.runs)).size).toBe(world.runs.length);
    const [job] = world.jobs.filter(isRun);
    expect(job?.payload).toMatchObject({
      command: ["npm", "run", "report"],
      process: "report",
      version: "v1",
    });
    expect((job?.id ?? "").length).toBeLessThanOrEqual(64);
  });

  it("keeps its times through a release in the middle: each once, none left out", () => {
    const world = live();
    for (let i = 0; i < 6; i++) {
      world.deploy();
      world.run(world.now + 47 * SECOND);
    }
    const times = dueTimes(world.runs).toSorted((a, b) => a - b);
    expect(times).toEqual(times.map((_, index) => (times[0] ?? 0) + index * MINUTE));
    expect(new Set(world.runs.map(({ releaseId }) => releaseId)).size).toBeGreaterThan(3);
  });

  it("of which times passed while control was away is run once, late, and says how many were missed", () => {
    const world = live("0 * * * * UTC");
    world.run(world.now + 2 * HOUR);
    const before = world.runs.length;
    world.now += 5 * HOUR;
    world.run(world.now + MINUTE);
    const late = world.runs.slice(before);
    expect(late.map(({ state, missed }) => ({ state, missed }))).toEqual([{ state: "done", missed: 4 }]);
    expect(world.now - (late[0]?.dueAt ?? 0)).toBeLessThan(HOUR);
  });

  it("whose run outlives the next time skips that one, or has one wait for it", () => {
    for (const overlap of ["skip", "queue"] as const) {
      const world = live("* * * * * UTC", { overlap });
      world.run(world.now + MINUTE);
      world.agents.job = (job) => (isRun(job) ? null : { digest: DIGEST });
      const before = world.runs.length;
      world.run(world.now + 3 * MINUTE);
      const during = states(world).slice(before);
      expect(during).toEqual(
        overlap === "skip" ? ["queued", "skipped", "skipped"] : ["queued", "waiting", "skipped"],
      );
      world.agents.job = () => ({ digest: DIGEST });
      world.run(world.now + 10 * SECOND);
      expect(states(world).slice(before, before + 2)).toEqual([
        "done",
        overlap === "skip" ? "skipped" : "done",
      ]);
    }
  });

  it("that nobody took yet goes to another host when its own is lost; one that was begun is never begun again", () => {
    const world = live("0 * * * * UTC");
    const silence = (name: string) => {
      const host = world.hosts.find((one) => one.name === name);
      if (host) host.alive = false;
      return host?.id;
    };
    world.agents.job = (job) => (isRun(job) ? null : { digest: DIGEST });
    world.run(Math.ceil(world.now / HOUR) * HOUR + SECOND);
    const [first] = world.jobs.filter(isRun);
    const home = world.hosts.find(({ id }) => id === first?.hostId)?.name ?? "";
    silence(home);
    world.now += 2 * MINUTE;
    world.run(world.now + MINUTE);
    const jobs = world.jobs.filter(isRun);
    expect(jobs.map(({ state }) => state)).toEqual(["cancelled", "queued"]);
    expect(jobs[1]?.hostId).not.toBe(first?.hostId);
    // The other has it, and is lost with it.
    Object.assign(jobs[1] as Job, { state: "leased" });
    silence(home === "anna" ? "bert" : "anna");
    world.run(world.now + 20 * MINUTE);
    expect(world.jobs.filter(isRun)).toHaveLength(2);
    expect(world.runs.at(-1)).toMatchObject({ state: "lost", attempts: 2 });
    expect(world.runs.at(-1)?.cause).toContain("never said how it ended");
  });

  it("is not begun again when the host that has it is removed before anybody saw that it began", () => {
    const world = live("0 * * * * UTC");
    world.agents.job = (job) => (isRun(job) ? null : { digest: DIGEST });
    world.run(Math.ceil(world.now / HOUR) * HOUR + SECOND);
    const [job] = world.jobs.filter(isRun);
    expect(job?.state).toBe("queued");
    // What a removal writes of a job that its host had taken (control/store/hosts.ts).
    const error = { code: "host_removed", message: "the host was removed", logs: [] };
    Object.assign(job as Job, { state: "failed", error, finishedAt: world.now });
    world.hosts = world.hosts.filter(({ id }) => id !== job?.hostId);
    world.run(world.now + MINUTE);
    expect(world.jobs.filter(isRun)).toHaveLength(1);
    expect(world.runs.at(-1)).toMatchObject({ state: "failed", attempts: 1 });
  });

  it("that fails says so, with its exit code and last lines", () => {
    const world = live();
    const error = {
      code: "command_failed",
      message: "report exited with code 3",
      exitCode: 3,
      logs: ["no disk"],
    };
    world.agents.job = (job) => (isRun(job) ? { error } : { digest: DIGEST });
    world.run(world.now + MINUTE);
    expect(world.runs.at(-1)).toMatchObject({ state: "failed", exitCode: 3, logs: ["no disk"] });
    expect(world.events.at(-1)).toMatchObject({ type: "run.state" });
    expect(world.state("v1")).toBe("live");
  });

  it("whose schedule a release changes goes by the new one from then on, and never for a time that was before", () => {
    const world = live("0 3 * * * UTC");
    world.run(world.now + 30 * HOUR);
    const before = world.runs.length;
    world.spec = aSpec({ processes: { report: scheduled("* * * * * UTC") } });
    world.deploy();
    const since = world.now;
    world.run(world.now + 3 * MINUTE);
    expect(dueTimes(world.runs.slice(before)).every((at) => at > since)).toBe(true);
    expect(world.runs.length - before).toBe(3);
  });
});

describe("a schedule's times", () => {
  const times = (text: string, from: string, count: number) => {
    const parsed = parseSchedule(text);
    if (!parsed.ok) throw new Error(parsed.error);
    const found: string[] = [];
    for (let at = Date.parse(from); found.length < count; ) {
      at = nextTime(parsed.value, at) ?? Number.NaN;
      found.push(new Date(at).toISOString());
    }
    return found;
  };

  it("skip none and double none where the clock is changed", () => {
    // The hour from 2 to 3 does not come on 29 March, and comes twice on 25 October.
    expect(times("30 2 * * * Europe/Berlin", "2026-03-28T12:00:00Z", 2)).toEqual([
      "2026-03-29T01:00:00.000Z",
      "2026-03-30T00:30:00.000Z",
    ]);
    expect(times("30 2 * * * Europe/Berlin", "2026-10-24T12:00:00Z", 2)).toEqual([
      "2026-10-25T00:30:00.000Z",
      "2026-10-26T01:30:00.000Z",
    ]);
  });

  it.each([
    ["0 3 * * *", "name the zone"],
    ["0 3 * * * Europe/Berin", "no time zone"],
    ["61 3 * * * UTC", "minute"],
    ["0 0 30 2 * UTC", "never comes"],
    ["0 0 3 * * * UTC", "five fields"],
    ["daily", "five fields"],
  ])("are refused in words: %s", (text, words) => {
    const parsed = parseSchedule(text);
    expect(parsed.ok ? "" : parsed.error).toContain(words);
  });
});
