import { afterEach, describe, expect, test } from "vitest";
import { freePort } from "../support/engine/docker.ts";
import { type apps, nodeCommand } from "./apps.ts";
import { ManualClock } from "./manual-clock.ts";
import { type AgentBench, agentBench } from "./running-agent.ts";
import { answerOf } from "./runtime/runtime.contract.ts";
import { specOf } from "./specs.ts";

const HOUR = 3_600_000;
let bench: AgentBench;
afterEach(async () => {
  const { invalid } = bench.control;
  await bench.close();
  expect(invalid).toEqual([]);
});

async function specFor(app: keyof typeof apps, over: Partial<Parameters<typeof specOf>[0]> = {}) {
  const check = { intervalMs: 5_000, timeoutMs: 3_000, failures: 3, successes: 1 };
  return specOf({
    instance: `ins-${app}`,
    image: "file:app",
    hostPort: await freePort(),
    command: nodeCommand(app),
    health: {
      startup: { ...check, intervalMs: 50, path: "/health", deadlineMs: 10 * HOUR },
      readiness: { ...check, path: "/ready" },
    },
    ...over,
  });
}
const pidOf = async (instance: string) => {
  const listed = await bench.runtime.list();
  return listed.ok ? listed.value.find((one) => one.instance === instance)?.runtimeId : undefined;
};
const statesOf = (instance: string) =>
  bench.control.reports.filter((one) => one.instance === instance).map(({ state }) => state);

describe("control away for an hour", () => {
  /** Lets time pass in seconds until the condition holds: real processes have to keep up with it. */
  async function passUntil(clock: ManualClock, condition: () => boolean): Promise<void> {
    await expect
      .poll(
        async () => {
          await clock.advance(100);
          return condition();
        },
        { timeout: 20_000, interval: 10 },
      )
      .toBe(true);
  }

  test("changes nothing here; what crashes comes back; and how all stand is told soon after control is there again", async () => {
    const clock = new ManualClock();
    bench = await agentBench({ clock });
    const { control, lines } = bench;
    const deadlineAt = Date.now() + 10 * HOUR;
    const [calm, mortal, late] = [
      await specFor("moody"),
      await specFor("mortal"),
      await specFor("sickly", { command: nodeCommand("good") }),
    ];
    for (const spec of [calm, mortal])
      control.give({ id: `start-${spec.instance}`, kind: "start", spec, deadlineAt });
    await passUntil(clock, () => control.done.length === 2);
    await passUntil(clock, () => control.reports.length === 2);
    const before = { calm: await pidOf(calm.instance), mortal: await pidOf(mortal.instance) };
    // Handed out, and not ended when control goes.
    const boots = `const at = Date.now() + 1500; require("node:http").createServer((q, s) => { s.statusCode = Date.now() < at ? 503 : 200; s.end(); }).listen(process.env.PORT)`;
    const job = {
      id: "start-late",
      kind: "start",
      spec: { ...late, command: ["node", "-e", boots] },
    } as const;
    control.give({ ...job, deadlineAt });
    await answerOf(late);
    await control.close();

    clock.slept.length = 0;
    await clock.advance(HOUR / 3);
    await fetch(`http://127.0.0.1:${mortal.hostPort}/die`).catch(() => {}); // it dies of it
    const comesBack = () =>
      lines.filter((line) => line.includes(`instance ready {"instance":"${mortal.instance}"`));
    await passUntil(clock, () => comesBack().length === 2);
    await passUntil(clock, () =>
      lines.some((line) => line.includes("job start done") && line.includes("late")),
    );
    await clock.advance((2 * HOUR) / 3);
    expect(await pidOf(calm.instance)).toBe(before.calm);
    expect(await pidOf(mortal.instance)).not.toBe(before.mortal);
    expect(await answerOf(calm)).toBe("ready: true");
    expect(lines.filter((line) => line.startsWith("warn control does not answer"))).toHaveLength(1);
    // Whatever waits for control tries at least this often. Tidying the host is hourly, and waits for nobody.
    const waits = clock.slept.filter((ms) => ms < HOUR / 2);
    expect(Math.max(...waits)).toBeLessThanOrEqual(36_000);
    expect(clock.slept.length - waits.length).toBeLessThanOrEqual(2);

    await control.open();
    const polls = control.polls.length;
    await clock.advance(36_000);
    await control.until(() => control.polls.length > polls, "polled");
    expect(await control.result("start-late")).toMatchObject({ ok: true });
    // That it was ready before, and is again, hides no crash.
    await control.until(() => statesOf(mortal.instance).length === 2, "told");
    expect(statesOf(mortal.instance)).toEqual(["ready", "ready"]);
    expect(control.reports.findLast(({ instance }) => instance === mortal.instance)?.exits).toHaveLength(1);
    const numbers = control.reports.map(({ instance, seq }) => `${instance} ${seq}`);
    expect(new Set(numbers).size).toBe(numbers.length);
    expect(statesOf(calm.instance)).toEqual(["ready"]);
  });
});

describe.each([
  ["an hour ahead of", HOUR],
  ["an hour behind", -HOUR],
])("a host whose clock is %s control's", (_words, skewMs) => {
  test("does jobs all the same, and gives each the time that control gave it", async () => {
    bench = await agentBench();
    const { control } = bench;
    control.skewMs = -skewMs;
    const quick = { intervalMs: 50, timeoutMs: 1_000, failures: 2, successes: 1 };
    const health = {
      startup: { ...quick, path: "/health", deadlineMs: 60_000 },
      readiness: { ...quick, path: "/ready" },
    };
    const good = await specFor("good", { health });
    control.give({ id: "start-good", kind: "start", spec: good });
    expect(await control.result("start-good")).toMatchObject({ ok: true });

    const silent = await specFor("silent", { health });
    const asked = performance.now();
    const deadlineAt = Date.now() + control.skewMs + 1_500;
    control.give({ id: "start-silent", kind: "start", spec: silent, deadlineAt });
    expect(await control.result("start-silent")).toMatchObject({ ok: false, error: { code: "deadline" } });
    expect(performance.now() - asked).toBeGreaterThan(1_300);
    const poll = control.polls.at(-1);
    expect(Math.abs((poll?.clock ?? 0) - Date.now())).toBeLessThan(30_000);
  });
});
