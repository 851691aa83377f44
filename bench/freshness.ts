/**
 * How long a rollback from rest takes until every isolate with traffic has it, and what a request costs an isolate that was
 * quiet: with control near, far away, and slower than anybody waits for. The edge is real, control's answers are scripted.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { MOVING_STALE_MS, type RoutingTable, STALENESS_BOUND_MS } from "../src/domain/routing/table.ts";
import { startOrigin } from "../test/support/apps/origin.ts";
import { ask } from "../test/support/http-client.ts";
import { type EdgeStack, startEdgeStack } from "../test/support/stack/edge-stack.ts";
import { tableOf } from "../test/support/tables.ts";
import { type BenchResult, resultOf } from "./result.ts";

const CLOCK = "x-bench-clock";
const EDGES = 4;
const VISIT_EVERY_MS = 100;
const RUNS = process.argv.includes("--quick") ? 2 : 6;
/** What a rollback takes before its table is published: three trips to D1. */
const D1_TRIPS = 3;
const REST_STALE_MS = 60_000;
const QUIET_MS = 30_000;

/** Milliseconds away. */
const CASES = {
  near: { control: 0, d1: 0 },
  far: { control: 300, d1: 120 },
  slow: { control: 1_300, d1: 120 },
} as const;

export async function run(): Promise<BenchResult> {
  const figures: Record<string, number> = {};
  for (const [name, away] of Object.entries(CASES)) {
    const rollbacks: number[] = [];
    const quiet: number[] = [];
    for (let n = 0; n < RUNS; n += 1) {
      const measured = await measure(away);
      rollbacks.push(measured.rollbackMs);
      quiet.push(measured.quietMs);
    }
    figures[`${name}RollbackMaxMs`] = Math.round(Math.max(...rollbacks));
    figures[`${name}QuietMaxMs`] = Math.round(Math.max(...quiet));
  }
  const bounds = Object.keys(CASES).flatMap((name) => [
    [`${name}RollbackMaxMs`, { atMost: STALENESS_BOUND_MS }] as const,
    // A request to the origin, with room for a busy machine: far below what waiting for control takes.
    [`${name}QuietMaxMs`, { atMost: 150 }] as const,
  ]);
  return resultOf("freshness", figures, Object.fromEntries(bounds));
}

async function measure(away: { readonly control: number; readonly d1: number }) {
  const [good, bad] = await Promise.all([startOrigin("good"), startOrigin("bad")]);
  let table: RoutingTable = tableOf([bad.url], { staleMs: REST_STALE_MS });
  const edge = await startEdgeStack(
    {
      table: async (_, known) => {
        const said = table;
        await sleep(away.control);
        return said.version === known
          ? { kind: "unchanged", version: known }
          : { kind: "table", table: said };
      },
      meter: () => {},
    },
    { edges: EDGES, clockHeader: CLOCK },
  );
  try {
    await Promise.all(edge.ports.map((port) => nameAt(port)));
    await edge.setAhead(QUIET_MS);
    const asked = performance.now();
    await nameAt(edge.ports[0] ?? 0);
    const quietMs = performance.now() - asked;
    // Not in step with anybody's refresh.
    await visitUntil(edge, Date.now() + 1_500 + Math.random() * 1_000);
    const began = Date.now();
    const published = sleep(D1_TRIPS * away.d1).then(() => {
      table = tableOf([good.url], { version: 2, staleMs: MOVING_STALE_MS });
    });
    const left = edge.ports.map(async (port) => {
      while ((await nameAt(port)) === "bad") await sleep(VISIT_EVERY_MS);
    });
    await Promise.all([published, ...left]);
    return { rollbackMs: Date.now() - began, quietMs };
  } finally {
    await edge.dispose();
    await Promise.all([good.stop(), bad.stop()]);
  }
}

async function visitUntil(edge: EdgeStack, end: number): Promise<void> {
  while (Date.now() < end) {
    await Promise.all(edge.ports.map((port) => nameAt(port)));
    await sleep(VISIT_EVERY_MS);
  }
}

async function nameAt(port: number): Promise<string> {
  const { text } = await ask({ port, host: "shop.test" });
  return JSON.parse(text).name;
}
