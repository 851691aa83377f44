/**
 * What people who look at the dashboard cost at Cloudflare, by the runtime's own counters in a real local stack: three viewers on
 * each of fifty environments' pages. A page at rest that nobody touches asks each 30 s (browser/live.ts); one with a release on its
 * way holds a feed open and asks once a minute beside it. What agents use meanwhile is measured before, and taken off.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { COUNTING } from "./cost/counters.ts";
import { bill, less, NOTHING, sum, tightest, times, type Usage } from "./cost/prices.ts";
import { type BenchResult, median, resultOf, rounded } from "./result.ts";
import { APP, ENVIRONMENT, Stand } from "./stand.ts";

const QUICK = process.argv.includes("--quick");
const VIEWERS = 150;
const VIEWS = QUICK ? 10 : 60;
const FEEDS = 3;
const FEED_S = QUICK ? 10 : 40;
const HOUR_S = 3_600;
/** Seconds between two views of an untouched page: at rest, and beside a feed. */
const [REST_S, FED_S] = [30, 60];
const WORK_DAY_H = 8;
const WORK_DAYS = 22;
const PAGE = `/ui/apps/${APP}/${ENVIRONMENT}`;

export async function run(): Promise<BenchResult> {
  const stand = await Stand.open({ around: COUNTING });
  try {
    await stand.apply({ strategy: "blue-green", drain: "1s", keep: "1s" });
    await stand.deploy("v1");
    await sleep(8_000);
    const [view, ms] = await measureViews(stand);
    const feedSecond = await measureFeeds(stand);
    const rest = times(view, HOUR_S / REST_S);
    const fed = sum(times(view, HOUR_S / FED_S), times(feedSecond, HOUR_S));
    const restDay = times(rest, VIEWERS * WORK_DAY_H);
    const { item, share } = tightest(restDay);
    return resultOf(
      "viewers",
      {
        viewers: VIEWERS,
        viewMs: Math.round(median(ms)),
        viewD1Read: rounded(view.d1Read, 1),
        viewObjectRequests: rounded(view.objectRequests, 2),
        viewObjectMGbS: rounded(view.objectGbS * 1_000, 3),
        restHourRequests: Math.round(rest.workerRequests * VIEWERS),
        restHourObjectRequests: Math.round(rest.objectRequests * VIEWERS),
        restHourObjectGbS: rounded(rest.objectGbS * VIEWERS, 1),
        restHourD1Read: Math.round(rest.d1Read * VIEWERS),
        restDayTightest: item,
        restDayShareOfFree: rounded(share, 2),
        restMonthUsd: rounded(bill(times(restDay, WORK_DAYS)), 2),
        fedHourRequests: Math.round(fed.workerRequests * VIEWERS),
        fedHourObjectGbS: rounded(fed.objectGbS * VIEWERS, 1),
        fedHourD1Read: Math.round(fed.d1Read * VIEWERS),
      },
      {
        // With the plan's own 5.
        restMonthUsd: { atMost: 8 },
        restHourRequests: { atMost: 18_500 },
        viewObjectRequests: { atMost: 5.2 },
      },
    );
  } finally {
    await stand.close();
  }
}

async function counts(stand: Stand): Promise<Usage> {
  return (await fetch(`${stand.controlUrl}/bench/counts`)).json() as Promise<Usage>; // The module around control.
}

/** What some work uses beyond what agents do meanwhile. */
async function beyondIdle(stand: Stand, seconds: number, work: () => Promise<unknown>): Promise<Usage> {
  const before = await counts(stand);
  await sleep(seconds * 1_000);
  const idle = less(await counts(stand), before);
  const from = await counts(stand);
  const began = performance.now();
  await work();
  const took = (performance.now() - began) / 1_000;
  const used = less(less(await counts(stand), from), times(idle, took / seconds));
  return Object.fromEntries(
    Object.keys(NOTHING).map((key) => [key, Math.max(0, used[key as keyof Usage])]),
  ) as unknown as Usage; // Every item is there.
}

async function measureViews(stand: Stand): Promise<[each: Usage, ms: number[]]> {
  const ms: number[] = [];
  const used = await beyondIdle(stand, 5, async () => {
    for (let n = 0; n < VIEWS; n += 1) {
      const began = performance.now();
      const answer = await look(stand, PAGE, "text/html");
      if (!answer.ok) throw new Error(`${PAGE} answered ${answer.status}`);
      await answer.text();
      ms.push(performance.now() - began);
    }
  });
  return [times(used, 1 / VIEWS), ms];
}

/** Per second and feed, of a canary that pauses: which is most of a canary's time. */
async function measureFeeds(stand: Stand): Promise<Usage> {
  const strategy = { canary: { steps: [{ weight: 10, bake: "2h" }, { weight: 100 }], analysis: false } };
  await stand.apply({ strategy, drain: "1s", keep: "1s" });
  const at = { app: APP, environment: ENVIRONMENT, idempotencyKey: "bench-watched" };
  const { id } = await stand.client.releases.create(at, { version: "watched" });
  while ((await stand.client.releases.get(id)).weight === 0) await sleep(100);
  // The feed has said what came so far, and looks once a second.
  await sleep(12_000);
  const ends = new AbortController();
  const used = await beyondIdle(stand, 10, async () => {
    const feeds = Array.from({ length: FEEDS }, () => drain(stand, id, ends.signal));
    await sleep(FEED_S * 1_000);
    ends.abort();
    await Promise.all(feeds);
  });
  // A feed asks D1 alone: what objects did meanwhile is the canary's.
  const asked = { ...NOTHING, workerRequests: used.workerRequests, d1Read: used.d1Read };
  return times(asked, 1 / (FEEDS * FEED_S));
}

async function drain(stand: Stand, release: string, signal: AbortSignal): Promise<void> {
  try {
    const feed = await look(stand, `/api/v1/releases/${release}/events`, "text/event-stream", signal);
    for await (const _ of feed.body ?? []);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

const look = (stand: Stand, path: string, accept: string, signal?: AbortSignal): Promise<Response> =>
  fetch(stand.controlUrl + path, {
    headers: { accept, authorization: `Bearer ${stand.token}` },
    ...(signal ? { signal } : {}),
  });
