/**
 * A big customer: a thousand edge isolates in fifty data centres send the counts of one environment once a second, as while a
 * release is judged, and releases and rollbacks go on beside them. How long routing tables take then, how far behind the judge
 * sees, and whether all that was acknowledged is there. The isolates are simulated; the meter objects, the coordinator and D1
 * are real, in one workerd on this machine: what Cloudflare spreads over many shares two cores here.
 * BENCH_METER_S: seconds of the flood (30; with --quick 8).
 */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type MeterBatch, windowOf } from "../src/domain/routing/meter.ts";
import { type BenchResult, median, resultOf } from "./result.ts";
import { APP, ENVIRONMENT, HOSTNAME, Stand } from "./stand.ts";

const ISOLATES = 1_000;
const COLOS = 50;
const SECONDS = Number(process.env.BENCH_METER_S ?? (process.argv.includes("--quick") ? 8 : 30));
const TABLE_EVERY_MS = 50;
const MOST_TRIES = 5;

/** Answers for the edge's service binding over HTTP: a data centre's batches of a second, its table, and what was counted. */
const AROUND = `
import control, { EdgePort } from "./control.mjs";
export * from "./control.mjs";
export default {
  ...control,
  async fetch(request, env, ctx) {
    const url = new URL(request.url);
    if (!url.pathname.startsWith("/bench/")) return control.fetch(request, env, ctx);
    const port = new EdgePort(ctx, env);
    if (url.pathname === "/bench/table") return Response.json(await port.table(url.searchParams.get("hostname"), null));
    if (url.pathname === "/bench/counted") {
      const [environment, from] = [url.searchParams.get("environment"), Number(url.searchParams.get("from"))];
      const parts = await Promise.all([0, 1, 2, 3].map((n) => env.METER.getByName(environment + "/" + n).read(from, 1e15)));
      return Response.json(parts.flat().reduce((sum, one) => sum + one.requests, 0));
    }
    const sent = await Promise.allSettled((await request.json()).map((batch) => port.meter(batch)));
    return Response.json(sent.map(({ status }) => status === "fulfilled"));
  },
};`;

export async function run(): Promise<BenchResult> {
  const stand = await Stand.open({ around: AROUND });
  try {
    await stand.apply({ strategy: "blue-green", drain: "1s", keep: "60s" });
    const first = await stand.deploy("v1");
    const table = await tableOf(stand);
    const environment = table.environment;
    const from = windowOf(Date.now());
    const flood = new Flood(stand, environment, first.id);
    const tables = watchTables(stand);
    const flooding = flood.run(SECONDS);
    const moves = await moveMeanwhile(stand, flooding);
    await flooding;
    const tableMs = await tables.stop();
    const counted = await lagUntilCounted(stand, { environment, from, acknowledged: flood.acknowledged });
    const figures = {
      isolates: ISOLATES,
      dataCentres: COLOS,
      seconds: SECONDS,
      flushes: flood.sent,
      refused: flood.refused,
      flushMsMedian: Math.round(median(flood.tookMs)),
      tableMsMedian: Math.round(median(tableMs)),
      tableMsP99: Math.round(percentile(tableMs, 0.99)),
      judgeLagMs: counted.lagMs,
      lost: counted.lost,
      releases: moves.releases,
      rollbacks: moves.rollbacks,
      rollbackMsMax: Math.round(Math.max(0, ...moves.rollbackMs)),
    };
    return resultOf("meter", figures, {
      tableMsP99: { atMost: 1_000 },
      judgeLagMs: { atMost: 2_000 },
      rollbackMsMax: { atMost: 3_000 },
      lost: { atMost: 0 },
      refused: { atMost: 0 },
    });
  } finally {
    await stand.close();
  }
}

const ask = async (stand: Stand, path: string, body?: unknown): Promise<unknown> => {
  const init = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  for (let tries = 1; ; tries += 1) {
    try {
      return await (await fetch(`${stand.controlUrl}/bench/${path}`, init)).json();
    } catch (error) {
      // A connection that workerd has closed: an edge sends the batch again, under the same id.
      if (!(error instanceof TypeError) || tries === MOST_TRIES) throw error;
      await sleep(TABLE_EVERY_MS);
    }
  }
};

async function tableOf(stand: Stand): Promise<{ environment: string }> {
  const answer = await ask(stand, `table?hostname=${HOSTNAME}`);
  return (answer as { table: { environment: string } }).table; // Just deployed: it is there.
}

/** Every isolate's batch of each second, a data centre's together. */
class Flood {
  readonly tookMs: number[] = [];
  sent = 0;
  refused = 0;
  acknowledged = 0;
  readonly #stand: Stand;
  readonly #environment: string;
  readonly #release: string;

  constructor(stand: Stand, environment: string, release: string) {
    this.#stand = stand;
    this.#environment = environment;
    this.#release = release;
  }

  async run(seconds: number): Promise<void> {
    const centres = Array.from({ length: COLOS }, async (_, n) => {
      await sleep((n * 1_000) / COLOS);
      for (let second = 0; second < seconds; second += 1) {
        const began = performance.now();
        await this.#flush(`C${n}`);
        await sleep(Math.max(0, 1_000 - (performance.now() - began)));
      }
    });
    await Promise.all(centres);
  }

  async #flush(colo: string): Promise<void> {
    const batches = Array.from({ length: ISOLATES / COLOS }, () => this.#batch(colo));
    const began = performance.now();
    const taken = (await ask(this.#stand, "meter", batches)) as boolean[];
    this.tookMs.push(performance.now() - began);
    this.sent += batches.length;
    this.refused += taken.filter((is) => !is).length;
    this.acknowledged += taken.filter((is) => is).length * 10;
  }

  #batch(colo: string): MeterBatch {
    const entry = {
      release: this.#release,
      instance: `${this.#release}-1`,
      window: windowOf(Date.now()),
      requests: 10,
      errors: 0,
      pathErrors: 0,
      classes: [0, 0, 10, 0, 0, 0] as const,
      rescued: 0,
      failed: 0,
      latency: [[40, 6] as const, [44, 4] as const],
      erroredVisitors: [],
      eligible: true,
    };
    return {
      id: randomUUID(),
      environment: this.#environment,
      colo,
      judged: true,
      entries: [entry],
      mirrored: [],
    };
  }
}

function watchTables(stand: Stand) {
  const tookMs: number[] = [];
  let isOver = false;
  const watching = (async () => {
    while (!isOver) {
      const began = performance.now();
      await tableOf(stand);
      tookMs.push(performance.now() - began);
      await sleep(TABLE_EVERY_MS);
    }
    return tookMs;
  })();
  return {
    stop: () => {
      isOver = true;
      return watching;
    },
  };
}

/** Deploys and rolls back until the flood is over. */
async function moveMeanwhile(stand: Stand, flooding: Promise<void>) {
  let isOver = false;
  void flooding.finally(() => {
    isOver = true;
  });
  const moves = { releases: 0, rollbacks: 0, rollbackMs: [] as number[] };
  while (!isOver) {
    await stand.deploy(`flood-${moves.releases}`);
    moves.releases += 1;
    const began = performance.now();
    await stand.client.environments.rollback(APP, ENVIRONMENT);
    moves.rollbackMs.push(performance.now() - began);
    moves.rollbacks += 1;
    await sleep(1_000);
  }
  return moves;
}

/** How long after the last acknowledgement a reader sees all of it, and what is missing then. */
async function lagUntilCounted(
  stand: Stand,
  { environment, from, acknowledged }: { environment: string; from: number; acknowledged: number },
): Promise<{ lagMs: number; lost: number }> {
  const began = performance.now();
  for (;;) {
    const counted = Number(await ask(stand, `counted?environment=${environment}&from=${from}`));
    const lagMs = Math.round(performance.now() - began);
    if (counted >= acknowledged || lagMs > 10_000) return { lagMs, lost: acknowledged - counted };
    await sleep(50);
  }
}

function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
