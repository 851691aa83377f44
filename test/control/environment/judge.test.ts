import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { events } from "../../../src/control/store/schema/events.ts";
import { instances } from "../../../src/control/store/schema/instances.ts";
import { jobs } from "../../../src/control/store/schema/jobs.ts";
import { verdicts } from "../../../src/control/store/schema/releases.ts";
import type { LogRelayPort } from "../../../src/control/streams/log-order.ts";
import { replay } from "../../../src/domain/canary/index.ts";
import { configOf } from "../../../src/domain/rollout/analysis/judged.ts";
import { latencyBucket } from "../../../src/domain/routing/meter.ts";
import type { EnvironmentSpec } from "../../../src/domain/spec.ts";
import { aCanary, aSpec, weightStep } from "../../domain/rollout/spec.ts";
import { TIMED, waitFor } from "../../support/patience.ts";
import { batchOf, counts, meterOf } from "../support/meter.ts";
import { ENVIRONMENT, Stage } from "../support/stage.ts";

const WINDOW = 10_000;
/** A moment on the windows' grid, so that every run counts the same ones. */
const NOON = Math.ceil(Date.now() / WINDOW) * WINDOW + 3_600_000;

let stage: Stage;
beforeEach(() => {
  vi.stubGlobal("fetch", async () => new Response("ok"));
  vi.spyOn(console, "error").mockImplementation(() => {});
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

/** v1 serves and has history; v2 has just begun its first step at `stage.at`. */
async function begin(
  strategy: EnvironmentSpec["strategy"] = aCanary(),
  history: Parameters<typeof counts>[4] = {},
): Promise<{ v1: string; v2: string }> {
  stage = await Stage.open({ strategy });
  // Their agents go on polling for as long as a test's clock may go.
  await stage.lookAlive(NOON + 2 * 3_600_000);
  stage.at = NOON - 300_000;
  const v1 = await stage.deploy();
  await served(NOON - 200_000, (window) => counts(v1, window, 1_800, 4, history));
  await goTo(NOON);
  const made = await stage.create();
  if (!made.ok) throw new Error(made.error.detail);
  await stage.until("v2", "shifting");
  await tick();
  return { v1, v2: made.value.release };
}
/** From then until noon, window by window. */
async function served(from: number, counted: (window: number) => ReturnType<typeof counts>): Promise<void> {
  const windows = Array.from({ length: (NOON - from) / WINDOW }, (_, n) => from + n * WINDOW);
  await stage.absorbAll(windows.map((at) => ({ clock: () => at + 1_000, batch: batchOf([counted(at)]) })));
}
const tick = () => stage.inside((coordinator) => coordinator.poke());
async function goTo(now: number): Promise<void> {
  stage.at = now;
  await tick();
}
async function absorb(now: number, entries: Parameters<typeof batchOf>[0], id?: string): Promise<void> {
  stage.at = now;
  await stage.absorb(batchOf(entries, id));
}
type Arm = readonly [requests: number, errors: number];
/** One window of traffic, then the tick that folds it in. */
async function pass(
  { v1, v2 }: { v1: string; v2: string },
  k: number,
  canary: Arm,
  stable: Arm,
): Promise<void> {
  const window = NOON + k * WINDOW;
  await absorb(window + 9_000, [counts(v1, window, ...stable), counts(v2, window, ...canary)]);
  await goTo(window + WINDOW + 3_000);
}
const weights = async () => (await stage.routed()).weights;
const said = () => stage.db.select().from(verdicts).orderBy(verdicts.window);

describe("a canary that is judged by what the edge counted", () => {
  it("is rolled back when it is bad, with the numbers that decided it kept", async () => {
    const ids = await begin();
    expect(await weights()).toEqual({ v1: 9_000, v2: 1_000 });
    for (let k = 0; k < 3; k++) await pass(ids, k, [200, 10], [1_800, 4]);
    expect(await weights()).toEqual({ v1: 10_000 });
    const release = await stage.release("v2");
    expect(["rolling_back", "rolled_back"]).toContain(release.state);
    expect(release.failure).toMatchObject({ code: "analysis_failed" });
    const last = (await said()).at(-1);
    expect(last).toMatchObject({ releaseId: ids.v2, verdict: "rollback", reason: "errors" });
    expect(last?.words).toMatch(/^errors 5(\.\d+)? % against 0\.2\d* % on stable, .* requests: rolled back$/);
    expect(last?.numbers).toMatchObject({ suspicion: { canary: { errors: expect.any(Number) } } });
    expect((await stage.coordinator.inspect()).verdict).toMatchObject({
      verdict: "rollback",
      release: ids.v2,
    });
  });

  describe("and names a route that failed", () => {
    const ID = "4f0c8a52-1d7e-4b-9k";
    const asked = () => stage.db.select().from(jobs).where(eq(jobs.kind, "logs"));
    const route = (requests: number, errors: number, more = {}) => ({
      routes: [{ route: "POST /pay", requests, errors, visitors: range(errors), ...more }],
    });
    const range = (count: number) => Array.from({ length: count }, (_, n) => n);
    /** A canary that fails one of two requests, until its traffic has gone. */
    async function fails(): Promise<void> {
      const ids = await begin();
      for (let k = 0; k < 3 && (await weights()).v2; k++) {
        const window = NOON + k * WINDOW;
        const stable = counts(ids.v1, window, 900, 0, route(900, 0));
        await absorb(window + 9_000, [
          stable,
          counts(ids.v2, window, 100, 50, route(100, 50, { failedId: ID })),
        ]);
        await goTo(window + WINDOW + 3_000);
      }
      expect(await weights()).toEqual({ v1: 10_000 });
    }
    const answered = new Set<string>();
    /** The host's answer to the next question. */
    async function answer(lines: readonly string[]): Promise<Record<string, unknown>> {
      const job = await waitFor(async () => {
        const job = (await asked()).find(({ id }) => !answered.has(id));
        if (!job) throw new Error("not asked yet");
        return job;
      });
      const relay = env.LOG_RELAY.getByName(String(job.payload.stream)) as unknown as LogRelayPort;
      answered.add(job.id);
      const instance = `${(await stage.release("v2")).id}-1`;
      const line = (text: string, n: number) => ({
        at: NOON + n,
        instance,
        version: "v2",
        stream: "stderr" as const,
        cursor: String(n),
        text,
      });
      const chunk = { chunk: "c1", hello: false, lines: lines.map(line), droppedBytes: 0 };
      expect(await relay.push(job.hostId, { ...chunk, live: true, end: true })).toMatchObject({
        taken: true,
      });
      return job.payload;
    }
    const found = () =>
      waitFor(async () => {
        const { failedRequest } = await stage.release("v2");
        expect(failedRequest?.found).not.toBeNull();
        return failedRequest;
      });

    it("has the app's lines of a request that failed there, once its traffic has gone", TIMED, async () => {
      await fails();
      const request = await answer([`POST /pay ${ID}: no cart`, "    at pay (shop.js:7)", "GET / 200"]);
      expect(request).toMatchObject({ request: ID, since: NOON - 1_000, follow: false });
      expect(await found()).toMatchObject({
        id: ID,
        route: "POST /pay",
        found: { lines: [`POST /pay ${ID}: no cart`, "    at pay (shop.js:7)"], note: null },
      });
      const told = (await stage.db.select().from(events)).find(({ type }) => type === "release.request");
      expect(told?.message).toMatch(/^v2: POST \/pay failed on \w+ as request 4f0c8a52-1d7e-4b-9k: "POST/);
    });

    it("says so where no line holds the id, and has the instance's last lines instead", TIMED, async () => {
      await fails();
      await answer(["GET / 200"]);
      await answer(["GET / 200", "a cart is missing"]);
      const { found: lines } = (await found()) ?? {};
      expect(lines?.lines).toEqual(["GET / 200", "a cart is missing"]);
      expect(lines?.note).toMatch(
        /^no line of the app holds its id \(log the header X-Request-Id .* last lines of/,
      );
    });

    it("keeps twenty lines of it and 4 kB at most", TIMED, async () => {
      await fails();
      await answer(range(40).map((n) => `${ID} ${n} ${"ü".repeat(200)}`));
      const lines = (await found())?.found?.lines ?? [];
      expect(lines.length).toBeLessThanOrEqual(20);
      expect(new TextEncoder().encode(lines.join("")).length).toBeLessThanOrEqual(4_100);
      expect(lines.at(-1)).toMatch(/ü…$/);
    });
  });

  it.each([
    [2, "stays: what takes a millisecond or two is the grain of the edge's clock", 1_000],
    [8, "stays: nobody feels what a busy machine adds", 1_000],
    [16, "is rolled back: that is slower", undefined],
  ])("against a stable of 1 ms, one of %d ms %s", async (ms, _why, weight) => {
    const answers = (requests: number, each: number) => ({
      latency: [[latencyBucket(each), requests]] as const,
    });
    const ids = await begin(aCanary(), answers(1_800, 1));
    for (let k = 0; k < 3; k++) {
      const window = NOON + k * WINDOW;
      const stable = counts(ids.v1, window, 1_800, 0, answers(1_800, 1));
      await absorb(window + 9_000, [stable, counts(ids.v2, window, 200, 0, answers(200, ms))]);
      await goTo(window + WINDOW + 3_000);
    }
    expect((await weights()).v2).toBe(weight);
  });

  it("on a slow host stays: stable is slow there too, and both are compared within their hosts", async () => {
    const ids = await begin(aCanary(), { latency: [[latencyBucket(80), 1_796]] });
    const placed = await stage.db.select().from(instances);
    const on = (release: string, host: string): string =>
      placed.find((one) => one.releaseId === release && one.hostId === host)?.id ?? "";
    const part = (release: string, host: string, window: number, requests: number) =>
      counts(release, window, requests, 0, {
        instance: on(release, host),
        latency: [[latencyBucket(host === "host_bert" ? 240 : 80), requests]],
        routes: [],
      });
    for (let k = 0; k < 4; k++) {
      const window = NOON + k * WINDOW;
      await absorb(window + 9_000, [
        part(ids.v1, "host_anna", window, 1_600),
        part(ids.v1, "host_bert", window, 200),
        part(ids.v2, "host_bert", window, 200),
      ]);
      await goTo(window + WINDOW + 3_000);
    }
    expect((await weights()).v2).toBe(1_000);
    const last = (await said()).at(-1);
    expect(last?.words).toContain(
      "; response times on anna left out, no canary there; bert is slow for stable",
    );
    const kept = (await said()).flatMap(({ counted }) => (counted ? [counted] : []));
    const withoutHosts = kept.map(({ hosts: _, ...before }) => before);
    const config = configOf({ ...aSpec({ strategy: aCanary() }) }, "beside");
    expect(replay(kept, config).decision?.verdict).toBe(last?.verdict);
    expect(replay(withoutHosts, config).decision).toMatchObject({ verdict: "rollback", reason: "latency" });
  });

  it.each([
    [1_000, 20],
    [0, 0],
  ])(
    "has the fields named in which its mirrored answers alone differ: with %d of 10,000 visitors",
    async (weightBp, own) => {
      const { v1, v2 } = await begin(
        aCanary({ steps: [weightStep(weightBp, 60_000, { mirrorBp: 500, compare: "json" })] }),
      );
      expect((await stage.table()).mirror).toEqual({ release: v2, shareBp: 500, compare: "json" });
      const [route, window] = ["GET /cart", NOON];
      const fields = [
        { route, field: "$.total", canary: 37, stable: 0, both: 0 },
        { route, field: "$.at", canary: 1, stable: 2, both: 37 },
      ];
      const compared = { routes: [{ route, answers: 40 }], fields };
      const mirrored = [{ release: v2, window, compared }];
      stage.at = window + 9_000;
      await stage.absorb({ ...batchOf([counts(v1, window, 180), counts(v2, window, own)]), mirrored });
      await goTo(window + WINDOW + 3_000);
      const [last] = await said();
      expect(last).toMatchObject({ verdict: "continue", numbers: { differing: { more: 0 } } });
      expect(last?.words).toMatch(
        /; v2 answers otherwise than stable: GET \/cart \$\.total in 37 of 40 \(stable with itself 0\); if meant, mirror: \{ ignore: \["\$\.total"\] \}$/,
      );
    },
  );

  it("comes out the same when the counts that were kept are judged again", async () => {
    const ids = await begin(aCanary(), { latency: [[50, 1_796]] });
    for (let k = 0; k < 3; k++) await pass(ids, k, [200, 10], [1_800, 4]);
    const rows = await said();
    const again = replay(
      rows.flatMap(({ counted }) => (counted ? [counted] : [])),
      configOf({ ...aSpec({ strategy: aCanary() }) }, "beside"),
    );
    const { verdict, reason, numbers } = rows.at(-1) ?? {};
    expect(again.decision).toEqual({ verdict, reason, ...numbers });
  });

  it("goes to 100 % by itself when it is good", async () => {
    const ids = await begin();
    const seen = new Set<number>();
    for (let k = 0; k < 14; k++) {
      await pass(ids, k, [200, 0], [1_800, 4]);
      seen.add((await weights()).v2 ?? 0);
    }
    expect([...seen]).toEqual([1_000, 5_000, 10_000]);
    expect((await said()).some(({ verdict }) => verdict === "pass")).toBe(true);
  });

  it("judges the same through evictions as without: no window is counted twice, none is left out", async () => {
    const runs: unknown[] = [];
    for (const evicted of [false, true]) {
      const ids = await begin();
      for (let k = 0; k < 4; k++) {
        await pass(ids, k, [200, k], [1_800, 4]);
        if (evicted) await stage.kill();
        await tick();
      }
      runs.push((await said()).map(({ window, verdict, numbers }) => ({ window, verdict, numbers })));
    }
    expect(runs[0]).toHaveLength(4);
    expect(runs[1]).toEqual(runs[0]);
  });

  it("judges the same when it ends between writing a verdict and remembering it", async () => {
    const ids = await begin();
    await pass(ids, 0, [200, 0], [1_800, 4]);
    await stage.inside((_, state) =>
      state.storage.get("judge").then((kept) => state.storage.put("before", kept)),
    );
    await pass(ids, 1, [200, 1], [1_800, 4]);
    const before = await said();
    await stage.inside((_, state) =>
      state.storage.get("before").then((kept) => state.storage.put("judge", kept)),
    );
    await tick();
    expect(await said()).toEqual(before);
  });

  it("is gone before its first window closes when it is dead", async () => {
    const { v1, v2 } = await begin();
    await absorb(NOON + 2_000, [counts(v1, NOON, 400, 1), counts(v2, NOON, 40, 40)]);
    await tick();
    expect(await weights()).toEqual({ v1: 10_000 });
    expect(await said()).toMatchObject([{ verdict: "rollback", reason: "error-ceiling", window: NOON }]);
  });

  it("is not charged with the tunnel's faults, and is with its own beside them", async () => {
    const ids = await begin();
    const faulty = async (k: number, errors: number) => {
      const window = NOON + k * WINDOW;
      const own = counts(ids.v2, window, 200, errors, { pathErrors: 60 });
      await absorb(window + 9_000, [counts(ids.v1, window, 1_800, 4), own]);
      await goTo(window + WINDOW + 3_000);
    };
    for (let k = 0; k < 4; k++) await faulty(k, 60);
    expect((await weights()).v2).toBe(1_000);
    expect((await said()).at(-1)?.numbers).toMatchObject({ suspicion: { canary: { errors: 0 } } });
    for (let k = 4; k < 8; k++) await faulty(k, 80);
    expect(await weights()).toEqual({ v1: 10_000 });
  });

  it("stays while both sides fail, and is not promoted either", async () => {
    const ids = await begin();
    for (let k = 0; k < 8; k++) await pass(ids, k, [200, 60], [1_800, 540]);
    expect(await weights()).toEqual({ v1: 9_000, v2: 1_000 });
    expect((await said()).at(-1)).toMatchObject({ verdict: "hold" });
  });

  it("may go on past a failed analysis that only paused it, judged afresh from there", async () => {
    const ids = await begin(aCanary({ analysis: { onFailure: "pause" } }));
    for (let k = 0; k < 3; k++) await pass(ids, k, [200, 10], [1_800, 4]);
    expect((await stage.release("v2")).paused).toMatchObject({ by: "analysis" });
    expect(await weights()).toEqual({ v1: 9_000, v2: 1_000 });
    await stage.coordinator.promote({ release: ids.v2, actor: "ann", step: 0, full: false });
    expect(await weights()).toEqual({ v1: 5_000, v2: 5_000 });
    for (let k = 4; k < 7; k++) await pass(ids, k, [200, 10], [1_800, 4]);
    expect((await stage.release("v2")).paused).toMatchObject({ by: "analysis" });
  });

  it("keeps its evidence while its weight is 0 for a moment", async () => {
    const ids = await begin();
    for (let k = 0; k < 2; k++) await pass(ids, k, [200, 0], [1_800, 4]);
    await stage.coordinator.setWeights({ weights: { [ids.v1]: 10_000 }, actor: "ann", seenRev: null });
    await goTo(NOON + 60_000);
    await stage.coordinator.resume({ release: ids.v2, actor: "ann", step: null });
    await pass(ids, 7, [200, 0], [1_800, 4]);
    expect((await said()).at(-1)?.numbers).toMatchObject({ rollout: { canary: { requests: 600 } } });
  });
});

describe("what the edge sends", () => {
  it("counts once when it comes twice, and not for a window that is judged already", async () => {
    const { v1, v2 } = await begin();
    for (let n = 0; n < 3; n++)
      await absorb(NOON + 9_000, [counts(v1, NOON, 1_800, 4), counts(v2, NOON, 200, 1)], "same");
    await goTo(NOON + 13_000);
    await absorb(NOON + 14_000, [counts(v2, NOON, 50, 50)]);
    await goTo(NOON + 23_000);
    expect((await said()).map(({ numbers }) => numbers)).toMatchObject([
      { rollout: { canary: { requests: 200, errors: 1 } } },
      { rollout: { canary: { requests: 200, errors: 1 } } },
    ]);
  });

  it("leaves the judge at work when a batch was lost and errors outnumber requests", async () => {
    const { v1, v2 } = await begin();
    await absorb(NOON + 9_000, [counts(v1, NOON, 1_800, 4), counts(v2, NOON, 0, 3)]);
    await goTo(NOON + 13_000);
    expect((await said()).at(-1)?.numbers).toMatchObject({ rollout: { canary: { requests: 3, errors: 3 } } });
  });

  it("leaves the judge at work when it makes no sense", async () => {
    const { v1, v2 } = await begin();
    const odd = [counts(v2, NOON, -1), counts(v2, NOON, 5, 0, { latency: [[50, 0.5]] })];
    await absorb(NOON + 9_000, [counts(v1, NOON, 1_800, 4), counts(v2, NOON, 200), ...odd]);
    await goTo(NOON + 13_000);
    expect((await said()).at(-1)?.numbers).toMatchObject({ rollout: { canary: { requests: 200 } } });
  });

  it("is compared with the new stable release where that changes on the way", async () => {
    const ids = await begin();
    await pass(ids, 0, [200, 0], [1_800, 4]);
    await stage.makeStable("rel_other");
    await pass(ids, 1, [200, 0], [1_800, 4]);
    expect((await said()).map(({ numbers }) => numbers)).toMatchObject([
      { rollout: { baseline: { requests: 1_800 } } },
      { rollout: { baseline: { requests: 1_800 }, canary: { requests: 400 } } },
    ]);
  });

  it("takes a bounded time and room in a flood: 500 isolates, every visitor in error", TIMED, async () => {
    const { v1, v2 } = await begin();
    const visitors = Array.from({ length: 1_000 }, (_, n) => n * 10);
    const meter = meterOf(ENVIRONMENT, "AMS");
    const size = () => runInDurableObject(meter, (_, state) => state.storage.sql.databaseSize);
    const [before, start] = [await size(), performance.now()];
    await runInDurableObject(meter, (instance) => {
      instance.clock = () => NOON + 5_000;
      const flood = (release: string) => counts(release, NOON, 2_000, 1_000, { erroredVisitors: visitors });
      for (let n = 0; n < 500; n++) void instance.absorb(batchOf([flood(v1), flood(v2)]));
    });
    const [grown, took] = [(await size()) - before, performance.now() - start];
    expect(grown, "bytes").toBeLessThan(300_000);
    expect(took, "ms").toBeLessThan(5_000);
  });

  it("after a clock that jumped ahead and back is judged on, in bounded work", async () => {
    const ids = await begin();
    await pass(ids, 0, [200, 0], [1_800, 4]);
    await goTo(NOON + 3 * 86_400_000);
    expect((await said()).length).toBeLessThanOrEqual(182);
    const state = (await stage.release("v2")).state;
    if (state !== "shifting") return;
    await pass(ids, 2, [200, 100], [1_800, 4]);
    await pass(ids, 3, [200, 100], [1_800, 4]);
    expect(await weights()).toEqual({ v1: 10_000 });
  });
});

describe("a step", () => {
  it("with mirror and match is in the table from its beginning", async () => {
    const match = [{ kind: "header", name: "x-beta", value: "1" }] as never;
    await begin(
      aCanary({ steps: [weightStep(1_000, 60_000, { match, mirrorBp: 500 }), weightStep(10_000)] }),
    );
    const answer = await stage.table();
    expect(answer).toMatchObject({ match, mirror: { shareBp: 500 } });
  });
});

describe("a release that has switched", () => {
  /** Requests of a window. */
  const EACH = 200;

  /** v1 had traffic for five minutes, then v2 took its place. */
  async function switched(watch: "on" | "off"): Promise<{ v1: string; v2: string }> {
    stage = await Stage.open({ watch, keepMs: 3_600_000 });
    await stage.lookAlive(NOON + 2 * 3_600_000);
    stage.at = NOON - 400_000;
    const v1 = await stage.deploy();
    await served(NOON - 300_000, (window) => counts(v1, window, EACH));
    await goTo(NOON);
    const v2 = await stage.deploy();
    await tick();
    return { v1, v2 };
  }
  const serve = (v2: string, k: number, errors = 0) =>
    absorb(NOON + k * WINDOW + 9_000, [counts(v2, NOON + k * WINDOW, EACH, errors)]);

  it("is taken back within 10 s of when its errors begin, a minute after the switch", async () => {
    const { v2 } = await switched("on");
    for (let k = 0; k < 6; k++) {
      await serve(v2, k);
      await goTo(NOON + (k + 1) * WINDOW);
    }
    expect(await weights()).toEqual({ v2: 10_000 });
    const began = NOON + 6 * WINDOW;
    let goneAt = 0;
    for (let second = 1; second <= 10 && goneAt === 0; second++) {
      stage.at = began + second * 1_000;
      // What the edge does: a second's counts, all of them errors, said to be urgent.
      await stage.absorb({ ...batchOf([counts(v2, began, 20, 20)]), judged: false, urgent: true });
      await stage.inside((coordinator) => coordinator.judgeNow());
      if ((await weights()).v1 === 10_000) goneAt = second;
    }
    expect(goneAt).toBeGreaterThan(0);
    expect(goneAt).toBeLessThanOrEqual(4);
    const release = await stage.release("v2");
    expect(release.failure).toMatchObject({ code: "analysis_failed" });
    expect(release.failure?.message).toMatch(/against 0 % before the switch.*: rolled back$/);
    expect((await said()).at(-1)).toMatchObject({ releaseId: v2, verdict: "rollback" });
  });

  it("is taken back when it is worse by little, and more than what was before", async () => {
    const { v2 } = await switched("on");
    for (let k = 0; k < 12 && (await weights()).v2 === 10_000; k++) {
      await serve(v2, k, 12);
      await goTo(NOON + (k + 1) * WINDOW + 3_000);
    }
    expect(await weights()).toEqual({ v1: 10_000 });
  });

  it("stays where it is as good, and is told of in a few rows", async () => {
    const { v2 } = await switched("on");
    for (let k = 0; k < 30; k++) {
      await serve(v2, k);
      await goTo(NOON + (k + 1) * WINDOW + 3_000);
    }
    expect(await weights()).toEqual({ v2: 10_000 });
    expect((await said()).map(({ verdict }) => verdict)).toEqual(["continue", "pass"]);
  });

  it("is judged by nobody where its watch is off", async () => {
    const { v2 } = await switched("off");
    for (let k = 0; k < 4; k++) {
      await serve(v2, k, EACH);
      await goTo(NOON + (k + 1) * WINDOW + 3_000);
    }
    expect(await weights()).toEqual({ v2: 10_000 });
    expect(await said()).toEqual([]);
  });

  it("has the coordinator look when a meter hears that it is urgent", async () => {
    const { v2 } = await switched("on");
    await serve(v2, 0);
    stage.at = NOON + 15_000;
    await stage.inside(() => {});
    await stage.absorb({ ...batchOf([counts(v2, NOON + WINDOW, 60, 60)]), judged: false, urgent: true });
    await waitFor(async () => expect(await weights()).toEqual({ v1: 10_000 }));
  });
});
