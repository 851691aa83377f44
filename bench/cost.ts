/**
 * What Sluice costs at Cloudflare, counted in a real local stack (workerd, D1, Durable Objects, two agents, the edge) by the runtime's
 * own counters: an idle host, control's own schedule, a release of each strategy, an hour of a canary, and the two examples of
 * docs/limits.md, whose tables it writes (not with --quick).
 *
 * What is played and what is scaled: an idle host by a window of real minutes, scaled by its polls to 1,440 a day; the schedule by 20
 * ticks; releases as they are, until everything has stopped; a canary by 40 s of real judging, times 90; visitors at rest by the edge's
 * own rules in virtual time, two hours of the hobby day (times 12) and ten minutes of the Paid month (times 4,320, and 3 apps).
 * Requests of visitors themselves are the examples' own. That a lookup of a hostname's owner is remembered for 30 s is not counted on.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { RoutingTable } from "../src/domain/routing/table.ts";
import { COUNTING } from "./cost/counters.ts";
import { bill, less, NOTHING, PRICES, sum, tightest, times, type Usage } from "./cost/prices.ts";
import { writeTables } from "./cost/tables.ts";
import { batchOf, type Crowd, callsAtRest, type EdgeCall, type Site } from "./cost/traffic.ts";
import { type BenchResult, resultOf, rounded } from "./result.ts";
import { APP, ENVIRONMENT, HOSTNAME, Stand } from "./stand.ts";

const QUICK = process.argv.includes("--quick");
const HOSTS = 2;
const MINUTES_A_DAY = 1_440;
const TICKS = 20;
/** Both agents poll at least once within it. */
const IDLE_WINDOW_MS = 80_000;
/** Answered by the runtime, which counts them for nobody to see; Cloudflare bills twenty messages of a socket as a request. */
const PINGS_A_DAY = 2_880;
const PINGS_A_REQUEST = 20;
/** Drained, kept and stopped by then. */
const SETTLED_MS = 8_000;
const CANARY_S = QUICK ? 15 : 40;
const CALLS_AT_ONCE = 500;

const STRATEGIES: Readonly<Record<string, unknown>> = {
  "blue-green": "blue-green",
  rolling: { rolling: { maxSurge: 1, maxUnavailable: 0 } },
  canary: { canary: { steps: [{ weight: 20, bake: "2s" }, { weight: 100 }], analysis: false } },
};

/** The hobby example: 20,000 requests a day from five data centres, one host, two releases. */
const HOBBY = {
  perDay: 20_000,
  releases: 2,
  crowd: { perSecond: 20_000 / 86_400, dataCentres: 5, isolatesEach: 1 },
};
/** The Paid example: three apps with 20 requests a second altogether, ten data centres of two isolates, four hosts, 30 canaries of 20 minutes. */
const PAID = {
  apps: 3,
  hosts: 4,
  days: 30,
  perSecond: 20,
  releases: 30,
  canaryHours: 10,
  crowd: { perSecond: 20 / 3, dataCentres: 10, isolatesEach: 2 },
};

export async function run(): Promise<BenchResult> {
  const stand = await Stand.open({ around: COUNTING });
  try {
    const releases = await measureReleases(stand);
    const tick = await measured(stand, () => ask(stand, `tick?times=${TICKS}`));
    const schedule = times(tick, MINUTES_A_DAY / TICKS);
    const idleHost = await measureIdleHost(stand, times(tick, 1 / TICKS));
    const site = await siteOf(stand);
    const lookup = await measured(stand, () => lookUp(stand, 50));
    const perLookup = { ...NOTHING, d1Read: lookup.d1Read / 50 };
    const rest = (crowd: Crowd, seconds: number) => measureRest(stand, { crowd, seconds, site, perLookup });
    const hobbyTraffic = times(await rest(HOBBY.crowd, 7_200 / (QUICK ? 8 : 1)), 12 * (QUICK ? 8 : 1));
    const paidTraffic = times(await rest(PAID.crowd, QUICK ? 60 : 600), PAID.days * 144 * (QUICK ? 10 : 1));
    const canaryHour = times(await measureCanary(stand, site), 3_600 / CANARY_S);
    const units = {
      ...releases,
      "a canary's hour": canaryHour,
      "an idle host's day": idleHost,
      "control's own day": schedule,
    };
    const hobbyDay = sum(
      idleHost,
      schedule,
      hobbyTraffic,
      times(releases["a blue-green release"] ?? NOTHING, HOBBY.releases),
      { ...NOTHING, workerRequests: HOBBY.perDay },
    );
    const paidMonth = sum(
      times(idleHost, PAID.hosts * PAID.days),
      times(schedule, PAID.days),
      times(paidTraffic, PAID.apps),
      times(releases["a canary release"] ?? NOTHING, PAID.releases),
      times(canaryHour, PAID.canaryHours),
      { ...NOTHING, workerRequests: PAID.perSecond * 86_400 * PAID.days },
    );
    if (!QUICK) writeTables({ units, hobbyDay, paidMonth });
    return resultOf("cost", figuresOf({ units, hobbyDay, paidMonth }), {
      hobbyLargestShare: { atMost: 0.5 },
      paidMonthUsd: { atMost: 25 },
      idleHostRequests: { atMost: 1_440 },
      idleHostD1Written: { atMost: 1_440 },
      idleHostObjectRequests: { atMost: 144 },
    });
  } finally {
    await stand.close();
  }
}

interface Sums {
  readonly units: Readonly<Record<string, Usage>>;
  readonly hobbyDay: Usage;
  readonly paidMonth: Usage;
}

function figuresOf({ units, hobbyDay, paidMonth }: Sums): BenchResult["figures"] {
  const { item, share } = tightest(hobbyDay);
  const idle = units["an idle host's day"] ?? NOTHING;
  const all = { ...units, "the hobby day": hobbyDay, "the Paid month": paidMonth };
  const lines = Object.entries(all).map(([name, usage]) => [
    name,
    Object.values(usage)
      .map((amount) => rounded(amount, 1))
      .join(" "),
  ]);
  return {
    hobbyLargestShare: rounded(share, 3),
    hobbyTightest: PRICES[item].words,
    paidMonthUsd: rounded(bill(paidMonth), 2),
    idleHostRequests: Math.round(idle.workerRequests),
    idleHostD1Written: Math.round(idle.d1Written),
    idleHostObjectRequests: Math.round(idle.objectRequests),
    ...Object.fromEntries(lines),
  };
}

type Counted = Usage & { readonly polls: number };

async function ask(stand: Stand, path: string, body?: unknown): Promise<Counted> {
  const init = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  return (await fetch(`${stand.controlUrl}/bench/${path}`, init)).json() as Promise<Counted>; // The module around control.
}

/** What some work uses. What runs beside it counts as its own. */
async function measured(stand: Stand, work: () => Promise<unknown>): Promise<Usage> {
  const before = await ask(stand, "counts");
  await work();
  return less(await ask(stand, "counts"), before);
}

async function measureReleases(stand: Stand): Promise<Record<string, Usage>> {
  const used: Record<string, Usage> = {};
  await stand.apply({ strategy: "blue-green", drain: "1s", keep: "1s" });
  await stand.deploy("v0");
  for (const [name, strategy] of Object.entries(STRATEGIES)) {
    await stand.apply({ strategy, drain: "1s", keep: "1s" });
    await sleep(SETTLED_MS);
    used[`a ${name} release`] = await measured(stand, async () => {
      await stand.deploy(name);
      await sleep(SETTLED_MS);
    });
  }
  return used;
}

/** By its polls: a day has 1,440 of them at the most. What the schedule used meanwhile is taken off. */
async function measureIdleHost(stand: Stand, tick: Usage): Promise<Usage> {
  const before = await ask(stand, "counts");
  await sleep(IDLE_WINDOW_MS);
  const after = await ask(stand, "counts");
  const polls = after.polls - before.polls;
  if (polls < HOSTS) throw new Error(`only ${polls} polls of ${HOSTS} hosts within ${IDLE_WINDOW_MS} ms`);
  const used = less(after, before);
  const ticks = used.workerRequests - polls;
  const day = times(notNegative(less(used, times(tick, ticks))), MINUTES_A_DAY / polls);
  return { ...day, objectRequests: day.objectRequests + PINGS_A_DAY / PINGS_A_REQUEST };
}

/** A schedule's run is a mean of some: where these used less, the host used nothing. */
const notNegative = (usage: Usage): Usage =>
  Object.fromEntries(
    Object.entries(usage).map(([key, used]) => [key, Math.max(0, used)]),
  ) as unknown as Usage; // The same keys.

async function siteOf(stand: Stand): Promise<Site> {
  const response = await fetch(`${stand.controlUrl}/bench/table?hostname=${HOSTNAME}`);
  const { table } = (await response.json()) as { table: RoutingTable }; // Just deployed: it is there.
  return {
    hostname: HOSTNAME,
    version: table.version,
    release: table.stable ?? "",
    environment: table.environment,
  };
}

/** Each hostname's owner is asked of D1 anew: none of these is remembered. */
const lookUp = (stand: Stand, count: number) =>
  play(
    stand,
    Array.from({ length: count }, (_, n) => ({
      at: Date.now(),
      hostname: `nobody-${n}.example.com`,
      known: null,
    })),
  );

interface Rest {
  readonly crowd: Crowd;
  readonly seconds: number;
  readonly site: Site;
  /** A lookup of a hostname's owner, which at a real pace is mostly not remembered. */
  readonly perLookup: Usage;
}

async function measureRest(stand: Stand, { crowd, seconds, site, perLookup }: Rest): Promise<Usage> {
  // Of its own, so that nothing else was counted into its meters before.
  const own = { ...site, environment: `env_cost_${crowd.dataCentres}` };
  const calls = callsAtRest({ crowd, seconds, from: Date.now(), site: own });
  const asks = calls.filter(({ hostname }) => hostname !== undefined).length;
  return sum(await measured(stand, () => play(stand, calls)), times(perLookup, asks));
}

async function play(stand: Stand, calls: readonly EdgeCall[]): Promise<void> {
  for (let from = 0; from < calls.length; from += CALLS_AT_ONCE)
    await ask(stand, "edge", calls.slice(from, from + CALLS_AT_ONCE));
}

/** A canary at 10 %, judged each second by the counts of the Paid example's isolates, for some seconds of real time. */
async function measureCanary(stand: Stand, site: Site): Promise<Usage> {
  const strategy = { canary: { steps: [{ weight: 10, bake: "30m" }, { weight: 100 }] } };
  await stand.apply({ strategy, drain: "1s", keep: "1s" });
  const release = await beginCanary(stand);
  return measured(stand, async () => {
    for (let second = 0; second < CANARY_S; second += 1) {
      const began = performance.now();
      await Promise.all(
        flushesOfSecond(second, { ...site, release }).map((batch) =>
          ask(stand, "edge", [{ at: null, batch }]),
        ),
      );
      await sleep(Math.max(0, 1_000 - (performance.now() - began)));
    }
  });
}

async function beginCanary(stand: Stand): Promise<string> {
  const at = { app: APP, environment: ENVIRONMENT, idempotencyKey: "bench-judged" };
  const { id } = await stand.client.releases.create(at, { version: "judged" });
  for (;;) {
    const { state, weight } = await stand.client.releases.get(id);
    if (state === "shifting" && weight > 0) return id;
    await sleep(100);
  }
}

/** Each isolate has a request every third second, and flushes it a second later: a quarter of them each second. */
function flushesOfSecond(second: number, site: Site) {
  const { dataCentres, isolatesEach } = PAID.crowd;
  const isolates = Array.from({ length: dataCentres * isolatesEach }, (_, n) => n);
  return isolates
    .filter((n) => n % 4 === second % 4)
    .map((n) => batchOf(site, { colo: `C${n % dataCentres}`, counted: 1 }, Date.now(), true));
}
