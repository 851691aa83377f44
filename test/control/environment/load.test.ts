import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { readCounts, readRecent, readTotals } from "../../../src/control/meter/meter-parts.ts";
import { instances } from "../../../src/control/store/schema/instances.ts";
import { listVerdicts } from "../../../src/control/store/verdicts.ts";
import type { Judgement } from "../../../src/domain/canary/index.ts";
import type { LoadSpec } from "../../../src/domain/spec.ts";
import { aCanary, weightStep } from "../../domain/rollout/spec.ts";
import { batchOf, counts, meterOf } from "../support/meter.ts";
import { ENVIRONMENT, Stage } from "../support/stage.ts";

const WINDOW = 10_000;
const NOON = Math.ceil(Date.now() / WINDOW) * WINDOW + 3_600_000;
const LOAD: LoadSpec = { paths: ["/", "/cart"], ratePerS: 5, judge: false };

interface Visit {
  readonly url: URL;
  readonly headers: Headers;
  readonly signal: AbortSignal;
}

let stage: Stage;
let visits: Visit[];
/** How an instance answers a synthetic visit, by its host's name and slot. */
let answerTo: (visit: Visit) => Response | Promise<Response>;
/** The host, by name and slot, that no probe gets to. */
let unreachable: string;

beforeEach(() => {
  visits = [];
  unreachable = "";
  answerTo = () => new Response("ok");
  vi.stubGlobal("fetch", async (input: string, init: RequestInit) => {
    const headers = new Headers(init.headers);
    const url = new URL(input);
    if (headers.get("x-sluice-synthetic") === null) {
      if (url.host === unreachable) throw new Error("connection refused");
      return new Response("ok");
    }
    const visit = { url, headers, signal: init.signal as AbortSignal };
    visits.push(visit);
    return answerTo(visit);
  });
  vi.spyOn(console, "error").mockImplementation(() => {});
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

/** v2 has half of the traffic beside v1, and nobody visits either. */
async function begin(load: LoadSpec) {
  stage = await Stage.open({
    load,
    strategy: aCanary({ steps: [weightStep(5_000, 600_000), weightStep(10_000)] }),
  });
  await stage.lookAlive(NOON + 2 * 3_600_000);
  stage.at = NOON - 300_000;
  const v1 = await stage.deploy();
  stage.at = NOON;
  for (const colo of ["AMS", "control"])
    await runInDurableObject(meterOf(ENVIRONMENT, colo), (meter) => {
      meter.clock = () => stage.at ?? 0;
      meter.gatherMs = 0;
    });
  const made = await stage.create();
  if (!made.ok) throw new Error(made.error.detail);
  await stage.until("v2", "shifting");
  const hosts = await originsOf(made.value.release);
  return { v1, v2: made.value.release, isCanary: ({ url }: Visit) => hosts.has(url.host) };
}
async function originsOf(release: string): Promise<Set<string>> {
  const table = await stage.table();
  const own = table.releases.find(({ id }) => id === release)?.instances ?? [];
  return new Set(own.map(({ origin }) => new URL(origin).host));
}

const goTo = async (now: number) => {
  stage.at = now;
  await stage.inside((coordinator) => coordinator.poke());
};
const counted = (ids: { v1: string; v2: string }) =>
  readCounts(env.METER, ENVIRONMENT, { from: NOON - WINDOW, to: NOON + 600_000, releases: [ids.v1, ids.v2] });
const syntheticIn = async (ids: { v1: string; v2: string }) => {
  const each = (await counted(ids)).flatMap(({ synthetic }) => [...(synthetic?.instances.values() ?? [])]);
  return each.reduce((sum, { requests }) => sum + requests, 0);
};
/**
 * Ticks of the coordinator, two seconds apart. Each one's visits are counted before the next: one that finds the last ones still
 * on their way leaves its own to the next tick, which here comes at the same time.
 */
async function pass(ids: { v1: string; v2: string }, from: number, to: number): Promise<void> {
  for (let at = from; at <= to; at += 2_000) {
    const least = (LOAD.ratePerS * (at - from)) / 1_000;
    const isCounted = async () => {
      await goTo(NOON + at);
      expect(visits.length).toBeGreaterThanOrEqual(least);
      expect(await syntheticIn(ids)).toBe(visits.length);
    };
    await vi.waitFor(isCounted, { timeout: 60_000 });
  }
}

describe("synthetic visits", () => {
  it("go to both releases by weight, behind the edge, marked, and are no visitors in any figure", async () => {
    const ids = await begin(LOAD);
    await pass(ids, 2_000, 10_000);
    expect(visits.length).toBeGreaterThan(0);
    const canary = visits.filter(ids.isCanary);
    expect(Math.abs(canary.length * 2 - visits.length)).toBeLessThanOrEqual(2);
    // Each path at each of both releases' two instances: none has only what is slow.
    expect(new Set(visits.map(({ url }) => url.pathname))).toEqual(new Set(LOAD.paths));
    expect(new Set(visits.map(({ url }) => url.href)).size).toBe(2 * 4);
    for (const { headers } of visits) {
      expect(headers.get("x-sluice-synthetic")).toBe("1");
      expect(headers.get("x-forwarded-host")).toBe("shop.example.com");
      expect(headers.get("x-sluice-probe")).toBeNull();
    }
    const { traffic, windows } = await stage.inside((coordinator) => coordinator.inspect());
    for (const one of Object.values(traffic)) expect(one).toEqual({ requests: 0, failed: 0 });
    expect(windows.every(({ requests, failed }) => requests + failed === 0)).toBe(true);
    const at = stage.at ?? 0;
    expect(
      (await readRecent(env.METER, ENVIRONMENT, at + WINDOW)).filter(({ requests }) => requests > 0),
    ).toEqual([]);
    const totals = [...(await readTotals(env.METER, ENVIRONMENT, at)).releases.values()];
    expect(totals.every(({ requests, classes }) => requests + Math.max(...classes) === 0)).toBe(true);
  });

  it("judged on request: a canary that fails them is taken back without one visitor", async () => {
    const ids = await begin({ ...LOAD, judge: true });
    answerTo = (visit) => new Response("", { status: ids.isCanary(visit) ? 500 : 200 });
    let at = NOON;
    const isGone = async () => {
      at += 2_000;
      await goTo(at);
      expect((await stage.routed()).weights).toEqual({ v1: 10_000 });
    };
    await vi.waitFor(isGone, { timeout: 60_000 });
    const { failure } = await stage.release("v2");
    expect(failure).toMatchObject({ code: "analysis_failed" });
    // All of them: nobody else came.
    expect(failure?.message).toMatch(/, (\d+) and (\d+) requests, of which \1 and \2 synthetic/);
    const made = visits.length;
    await goTo(at + 4_000);
    expect(visits).toHaveLength(made);
  });

  it("that meet a challenge of Cloudflare's were none: nobody is judged by them", async () => {
    const ids = await begin({ ...LOAD, judge: true });
    let [met, passed] = [0, 0];
    answerTo = () => {
      if (met < 10) {
        met += 1;
        return new Response("<html>", { status: 403, headers: { "cf-mitigated": "challenge" } });
      }
      passed += 1;
      return new Response("ok");
    };
    let at = NOON;
    const isCounted = async () => {
      at += 2_000;
      await goTo(at);
      expect(passed).toBeGreaterThan(0);
      expect(await syntheticIn(ids)).toBe(passed);
    };
    await vi.waitFor(isCounted, { timeout: 60_000 });
    expect(met).toBe(10);
    expect((await stage.release("v2")).failure).toBeNull();
  });

  it("unasked they decide nothing", async () => {
    const ids = await begin(LOAD);
    answerTo = (visit) => new Response("", { status: ids.isCanary(visit) ? 500 : 200 });
    await pass(ids, 2_000, 20_000);
    await goTo(NOON + 2 * WINDOW + 3_000);
    expect((await stage.release("v2")).failure).toBeNull();
    expect((await stage.routed()).weights).toEqual({ v1: 5_000, v2: 5_000 });
    const [first] = await listVerdicts(stage.db, { release: ids.v2, before: null, limit: 1 });
    const { synthetic, rollout } = (first?.numbers ?? {}) as Partial<Judgement>;
    expect(synthetic).toEqual({ canary: expect.any(Number), baseline: expect.any(Number), isJudged: false });
    expect([synthetic?.canary, synthetic?.baseline].every((made) => (made ?? 0) > 0)).toBe(true);
    expect(rollout?.canary.requests).toBe(0);
  });

  it("are not made where there are visitors enough", async () => {
    const ids = await begin(LOAD);
    const full = [0, 1, 2, 3, 4, 5].flatMap((n) => [counts(ids.v1, NOON + n * WINDOW, 60)]);
    stage.at = NOON + 60_000;
    await stage.absorb(batchOf(full));
    for (let at = 60_000; at <= 68_000; at += 2_000) await goTo(NOON + at);
    expect(visits).toEqual([]);
  });

  it("go to no instance that has left since they were dealt, and what it broke off meanwhile is nobody's error", async () => {
    const ids = await begin(LOAD);
    let gone = "";
    answerTo = async ({ url }) => {
      await vi.waitFor(() => expect(gone).not.toBe(""), { timeout: 60_000 });
      return new Response("", { status: url.host === gone ? 502 : 200 });
    };
    await goTo(NOON + 2_000);
    await goTo(NOON + 4_000);
    await vi.waitFor(() => expect(visits).toHaveLength(3));
    const [first] = visits;
    const all = (await stage.table()).releases.flatMap((release) => release.instances);
    const leaving = all.find(({ origin }) => new URL(origin).host === first?.url.host);
    await stage.db
      .update(instances)
      .set({ state: "draining" })
      .where(eq(instances.id, leaving?.id ?? ""));
    await goTo(NOON + 4_500);
    gone = first?.url.host ?? "";
    const asked = visits.filter(({ url }) => url.host === gone).length;
    await vi.waitFor(async () => expect(await syntheticIn(ids)).toBe(visits.length - asked));
    expect(visits).toHaveLength(10);
    expect(visits.filter(({ url }) => url.host === gone)).toHaveLength(asked);
    const errors = (await counted(ids)).flatMap(({ synthetic }) => [
      ...(synthetic?.instances.values() ?? []),
    ]);
    expect(errors.every((one) => one.errors === 0)).toBe(true);
  });

  it.each([
    ["has said to be unready", { reportState: "unready" as const }],
    ["no probe gets to", { unreachableSince: NOON }],
  ])("leave out an instance that %s: it is no visit, and no error of its release", async (_what, state) => {
    const ids = await begin(LOAD);
    const all = (await stage.table()).releases.flatMap((release) => release.instances);
    const one = all.find(({ origin }) => ids.isCanary({ url: new URL(origin) } as Visit));
    const host = new URL(one?.origin ?? "").host;
    if ("unreachableSince" in state) unreachable = host;
    await stage.db
      .update(instances)
      .set(state)
      .where(eq(instances.id, one?.id ?? ""));
    answerTo = ({ url }) => new Response("", { status: url.host === host ? 502 : 200 });
    await pass(ids, 2_000, 10_000);
    // The release's other instance has them all.
    expect(visits.filter(ids.isCanary).length).toBeGreaterThan(0);
    expect(visits.filter(({ url }) => url.host === host)).toEqual([]);
    const each = (await counted(ids)).flatMap(({ synthetic }) => [...(synthetic?.instances.values() ?? [])]);
    expect(each.every(({ errors }) => errors === 0)).toBe(true);
  });

  it("end at once with a pause, those on their way too", async () => {
    const ids = await begin(LOAD);
    answerTo = ({ signal }) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    await goTo(NOON + 2_000);
    await goTo(NOON + 4_000);
    await vi.waitFor(() => expect(visits.length).toBeGreaterThan(0));
    const paused = await stage.coordinator.pause({ release: ids.v2, actor: "ann", step: null });
    expect(paused.ok).toBe(true);
    await vi.waitFor(() => expect(visits.every(({ signal }) => signal.aborted)).toBe(true));
    const made = visits.length;
    await goTo(NOON + 8_000);
    expect(visits).toHaveLength(made);
    expect(await syntheticIn(ids)).toBe(0);
  });
});
