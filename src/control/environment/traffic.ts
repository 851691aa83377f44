import type { ArmWindow, CanaryWindow, HistoryWindow } from "../../domain/canary/judge.ts";
import {
  HISTOGRAM_BUCKETS,
  latencyBucket,
  type MeterBatch,
  type MeterEntry,
  WINDOW_MS,
} from "../../domain/routing/meter.ts";

/** Windows older than this are dropped from the coordinator's storage. */
const KEEP_MS = 3_600_000;
/** The edge sends a batch again for less long than this. */
const SEEN_MS = 300_000;

/** Visitors are told apart by a number below this (canary.md §6). */
const VISITORS = 10_000;

/**
 * All that is quicker counts as this. The edge's clock has whole milliseconds: 1 ms against 2 would be twice as slow to the
 * judge, and is its grain.
 */
const FINEST_BUCKET = latencyBucket(5);

/** Counts of one release in one window. Of fixed size, however many requests they stand for. */
interface Judged {
  readonly requests: number;
  readonly errors: number;
  readonly latency: Float64Array;
  /** A bit for each visitor who met an error. */
  readonly visitors: Uint8Array;
}
type JudgedRow = { requests: number; errors: number; latency: ArrayBuffer; visitors: ArrayBuffer };

interface Totals {
  readonly requests: number;
  readonly failed: number;
}

/** What the edge counted of one environment, in its coordinator's own SQLite: per release and 10 s window. */
export class Traffic {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(`CREATE TABLE IF NOT EXISTS traffic (
      release TEXT NOT NULL, window INTEGER NOT NULL, requests INTEGER NOT NULL, failed INTEGER NOT NULL,
      PRIMARY KEY (release, window))`);
    // What a judge needs, of the rollout's eligible visitors alone.
    sql.exec(`CREATE TABLE IF NOT EXISTS judged (
      release TEXT NOT NULL, window INTEGER NOT NULL, requests INTEGER NOT NULL, errors INTEGER NOT NULL,
      latency BLOB NOT NULL, visitors BLOB NOT NULL, PRIMARY KEY (release, window))`);
    sql.exec("CREATE TABLE IF NOT EXISTS batches (id TEXT PRIMARY KEY, at INTEGER NOT NULL)");
    sql.exec("CREATE INDEX IF NOT EXISTS batches_at ON batches (at)");
  }

  /** A batch that comes again, its acknowledgement having been lost, counts once. */
  absorb(batch: MeterBatch, now: number): void {
    this.#sql.exec("DELETE FROM batches WHERE at < ?", now - SEEN_MS);
    const fresh = this.#sql.exec("INSERT OR IGNORE INTO batches VALUES (?, ?)", batch.id, now);
    if (fresh.rowsWritten === 0) return;
    for (const entry of batch.entries) {
      // A clock far off would leave windows that no clean-up reaches.
      if (entry.window > now + WINDOW_MS || entry.window < now - KEEP_MS) continue;
      this.#sql.exec(
        `INSERT INTO traffic VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE
         SET requests = requests + excluded.requests, failed = failed + excluded.failed`,
        entry.release,
        entry.window,
        entry.requests,
        entry.failed,
      );
      if (entry.eligible && isSound(entry)) this.#addJudged(entry);
    }
    this.#sql.exec("DELETE FROM traffic WHERE window < ?", now - KEEP_MS);
    this.#sql.exec("DELETE FROM judged WHERE window < ?", now - KEEP_MS);
  }

  #addJudged(entry: MeterEntry): void {
    const { requests, errors, latency, visitors } = this.#judged(entry.release, entry.window) ?? blank();
    for (const [counted, count] of entry.latency) {
      const bucket = Math.max(counted, FINEST_BUCKET);
      if (bucket in latency) latency[bucket] = (latency[bucket] ?? 0) + count;
    }
    for (const visitor of entry.erroredVisitors)
      visitors[visitor >> 3] = (visitors[visitor >> 3] ?? 0) | (1 << (visitor & 7));
    this.#sql.exec(
      "INSERT OR REPLACE INTO judged VALUES (?, ?, ?, ?, ?, ?)",
      entry.release,
      entry.window,
      requests + entry.requests,
      errors + entry.errors,
      latency.buffer,
      visitors.buffer,
    );
  }

  #judged(release: string, window: number): Judged | undefined {
    const [row] = this.#sql.exec<JudgedRow>(
      "SELECT requests, errors, latency, visitors FROM judged WHERE release = ? AND window = ?",
      release,
      window,
    );
    return row && { ...row, latency: new Float64Array(row.latency), visitors: new Uint8Array(row.visitors) };
  }

  /** Both sides' counts in the window that begins at `window`. */
  window(window: number, canary: string, stable: string): CanaryWindow {
    return { canary: this.#arm(canary, window), baseline: this.#arm(stable, window) };
  }

  #arm(release: string, window: number): ArmWindow {
    const counted = this.#judged(release, window);
    if (!counted) return { n: 0, errors: 0, distinctErrors: 0 };
    const { requests, errors, latency, visitors } = counted;
    // A lost batch may have taken the requests of which another counts the errors.
    const n = Math.max(requests, errors);
    return { n, errors, distinctErrors: Math.min(bits(visitors), errors), hist: [...latency] };
  }

  /** A release's latency histogram over the windows from `from` up to, not including, `to`. */
  latency(release: string, from: number, to: number): number[] {
    const sum = new Array<number>(HISTOGRAM_BUCKETS).fill(0);
    for (let window = from; window < to; window += WINDOW_MS) {
      for (const [bucket, count] of (this.#judged(release, window)?.latency ?? []).entries()) {
        sum[bucket] = (sum[bucket] ?? 0) + count;
      }
    }
    return sum;
  }

  history(release: string, from: number, to: number): HistoryWindow[] {
    const windows: HistoryWindow[] = [];
    for (let window = from; window < to; window += WINDOW_MS) {
      const { n, errors, distinctErrors } = this.#arm(release, window);
      windows.push({ n, errors, distinctErrors });
    }
    return windows;
  }

  /** Visitors' requests by release, over the windows that are kept. */
  byRelease(): Record<string, Totals> {
    const rows = this.#sql.exec<{ release: string; requests: number; failed: number }>(
      "SELECT release, SUM(requests) AS requests, SUM(failed) AS failed FROM traffic GROUP BY release",
    );
    return Object.fromEntries([...rows].map(({ release, ...totals }) => [release, totals]));
  }

  /** All of the environment's requests per window, oldest first. */
  byWindow(): (Totals & { window: number })[] {
    const rows = this.#sql.exec<{ window: number; requests: number; failed: number }>(
      "SELECT window, SUM(requests) AS requests, SUM(failed) AS failed FROM traffic GROUP BY window ORDER BY window",
    );
    return [...rows];
  }
}

const blank = (): Judged => ({
  requests: 0,
  errors: 0,
  latency: new Float64Array(HISTOGRAM_BUCKETS),
  visitors: new Uint8Array(VISITORS / 8),
});

function bits(bytes: Uint8Array): number {
  let count = 0;
  for (const byte of bytes) for (let rest = byte; rest > 0; rest &= rest - 1) count += 1;
  return count;
}

/** The judge refuses a window with an impossible count, and would from then on. */
const isSound = ({ requests, errors, latency }: MeterEntry): boolean =>
  [requests, errors, ...latency.map(([, count]) => count)].every(
    (count) => Number.isSafeInteger(count) && count >= 0,
  );
