import { HISTOGRAM_BUCKETS } from "../../domain/routing/meter.ts";
import type { Counted } from "./counted.ts";

/** A release that nobody asked for so long is forgotten. */
const FORGET_MS = 7 * 86_400_000;

/** What was ever counted of a release. Only rises, but for the day when it is forgotten. */
export interface ReleaseTotal {
  readonly release: string;
  requests: number;
  /** In the visitor's eyes. */
  failed: number;
  /** Answers by class, as in a meter entry. */
  readonly classes: number[];
  /** Dense histogram of good answers to eligible visitors (domain/routing/meter.ts). */
  readonly latency: number[];
}

type Row = { release: string; total: string };

export const noTotal = (release: string): ReleaseTotal => ({
  release,
  requests: 0,
  failed: 0,
  classes: new Array<number>(6).fill(0),
  latency: new Array<number>(HISTOGRAM_BUCKETS).fill(0),
});

type Addend = Pick<Counted, "requests" | "failed" | "classes"> & { readonly latency: Iterable<number> };

export function addToTotal(total: ReleaseTotal, part: Addend): void {
  total.requests += part.requests;
  total.failed += part.failed;
  for (const [at, count] of part.classes.entries()) total.classes[at] = (total.classes[at] ?? 0) + count;
  let bucket = 0;
  for (const count of part.latency) {
    total.latency[bucket] = (total.latency[bucket] ?? 0) + count;
    bucket += 1;
  }
}

const addWindowToTotal = (total: ReleaseTotal, counted: Counted): void =>
  addToTotal(total, { ...counted, latency: counted.judged?.latency ?? [] });

/** Totals of the windows that are dropped already: a row for each release. */
export class Totals {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(
      "CREATE TABLE IF NOT EXISTS totals (release TEXT PRIMARY KEY, at INTEGER NOT NULL, total TEXT NOT NULL) WITHOUT ROWID",
    );
  }

  read(): Map<string, ReleaseTotal> {
    const rows = [...this.#sql.exec<Row>("SELECT release, total FROM totals")];
    return new Map(rows.map(({ release, total }) => [release, JSON.parse(total) as ReleaseTotal]));
  }

  /** Adds windows that are about to be dropped. Answers rows written. */
  fold(dropped: readonly Counted[], now: number): number {
    if (dropped.length === 0) return 0;
    const known = this.read();
    const changed = sumByRelease(dropped, known);
    let written = 0;
    for (const release of changed)
      written += this.#sql.exec(
        "INSERT OR REPLACE INTO totals VALUES (?, ?, ?)",
        release,
        now,
        JSON.stringify(known.get(release)),
      ).rowsWritten;
    return written + this.#sql.exec("DELETE FROM totals WHERE at < ?", now - FORGET_MS).rowsWritten;
  }
}

/** Adds windows to the totals of their releases. Answers which those were. */
export function sumByRelease(counted: readonly Counted[], totals: Map<string, ReleaseTotal>): Set<string> {
  for (const one of counted) {
    const total = totals.get(one.release) ?? noTotal(one.release);
    addWindowToTotal(total, one);
    totals.set(one.release, total);
  }
  return new Set(counted.map(({ release }) => release));
}
