import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "../../../agent/clock.ts";
import type { Answer, Control } from "../../../agent/control/control.ts";
import { Reports } from "../../../agent/instances/reports.ts";
import { type Journal, openJournal } from "../../../agent/journal.ts";
import { Secrets } from "../../../agent/redaction/secrets.ts";
import { healthSchema } from "../../../src/protocol/agent/health.ts";
import { specOf } from "../specs.ts";

let directory: string;
let journal: Journal;
beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), "sluice-reports-"));
  journal = await openJournal(directory, (message) => expect.fail(message));
  await journal.update(({ instances }) => {
    for (const instance of ["ins-1", "ins-2"])
      instances[instance] = {
        spec: specOf({ instance, image: "file:app", hostPort: 20_000 }),
        startedAt: 0,
        state: "starting",
        exits: [],
        stopping: false,
      };
  });
});
afterEach(() => rm(directory, { recursive: true }));

const log = { info() {}, warn() {}, error() {} };
const away: Answer<never> = { ok: false, kind: "unreachable", detail: "control is away" };

function reportsTo(answer: (sent: ReturnType<typeof healthSchema.parse>) => Answer<unknown>) {
  const control: Control = async (_path, body, schema) => {
    const said = answer(healthSchema.parse(body));
    return said.ok ? { ok: true, value: schema.parse(said.value) } : said;
  };
  return new Reports({ boot: "boot-1", journal, control, clock: systemClock, log, secrets: new Secrets() });
}
const sizeOfJournal = async () => (await stat(path.join(directory, "journal.json"))).size;

test("keep only the newest of each instance while control is away, in memory and on disk", async () => {
  const stop = new AbortController();
  let isBack = false;
  const sent: unknown[] = [];
  const reports = reportsTo((message) => {
    if (!isBack) return away;
    sent.push(...message.reports.map(({ instance, state, seq }) => ({ instance, state, seq })));
    stop.abort();
    return { ok: true, value: {} };
  });
  await reports.push("ins-1", "unready", "answered 503 0");
  const before = await sizeOfJournal();
  for (let n = 1; n < 300; n++) await reports.push("ins-1", n % 2 ? "ready" : "unready", `answered 503 ${n}`);
  await reports.push("ins-2", "ready");
  expect(await sizeOfJournal()).toBeLessThan(before + 100);
  isBack = true;
  await reports.deliver(stop.signal);
  expect(sent).toEqual([
    { instance: "ins-1", state: "ready", seq: 300 },
    { instance: "ins-2", state: "ready", seq: 301 },
  ]);
});

test("tell what turned again while its report was on its way", async () => {
  const stop = new AbortController();
  const states: string[] = [];
  let turned = Promise.resolve();
  const reports = reportsTo((message) => {
    states.push(...message.reports.map(({ state }) => state));
    if (states.length === 1) turned = reports.push("ins-1", "unready", "answered 503");
    else stop.abort();
    return { ok: true, value: {} };
  });
  await reports.push("ins-1", "ready");
  await reports.deliver(stop.signal);
  await turned;
  expect(states).toEqual(["ready", "unready"]);
});
