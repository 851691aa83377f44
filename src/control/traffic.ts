import type { ArmWindow, CanaryWindow, HistoryWindow } from "../domain/canary.ts";
import { HISTOGRAM_BUCKETS, type MeterBatch, type MeterEntry, WINDOW_MS } from "../domain/meter.ts";

/** Windows older than this are dropped from the coordinator's storage. */
const KEEP_MS = 3_600_000;
/** The edge sends a batch again for less long than this. */
const SEEN_MS = 300_000;

interface Judged {
  readonly requests: number;
  readonly errors: number;
  readonly latency: readonly number[];
  readonly visitors: readonly number[];
}
type JudgedRow = { requests: number; errors: number; latency: string; visitors: string };

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
    // What a judge needs, of the rollout's eligible visitors alone. `latency` is a dense histogram, `visitors` a set.
    sql.exec(`CREATE TABLE IF NOT EXISTS judged (
      release TEXT NOT NULL, window INTEGER NOT NULL, requests INTEGER NOT NULL, errors INTEGER NOT NULL,
      latency TEXT NOT NULL, visitors TEXT NOT NULL, PRIMARY KEY (release, window))`);
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
      if (entry.eligible) this.#addJudged(entry);
    }
    this.#sql.exec("DELETE FROM traffic WHERE window < ?", now - KEEP_MS);
    this.#sql.exec("DELETE FROM judged WHERE window < ?", now - KEEP_MS);
  }

  #addJudged(entry: MeterEntry): void {
    const old = this.#judged(entry.release, entry.window);
    const latency = old ? [...old.latency] : new Array<number>(HISTOGRAM_BUCKETS).fill(0);
    for (const [bucket, count] of entry.latency) latency[bucket] = (latency[bucket] ?? 0) + count;
    const visitors = new Set([...(old?.visitors ?? []), ...entry.erroredVisitors]);
    this.#sql.exec(
      "INSERT OR REPLACE INTO judged VALUES (?, ?, ?, ?, ?, ?)",
      entry.release,
      entry.window,
      (old?.requests ?? 0) + entry.requests,
      (old?.errors ?? 0) + entry.errors,
      JSON.stringify(latency),
      JSON.stringify([...visitors]),
    );
  }

  #judged(release: string, window: number): Judged | undefined {
    const [row] = this.#sql.exec<JudgedRow>(
      "SELECT requests, errors, latency, visitors FROM judged WHERE release = ? AND window = ?",
      release,
      window,
    );
    // Written above, and by nobody else.
    return row && { ...row, latency: JSON.parse(row.latency), visitors: JSON.parse(row.visitors) };
  }

  /** Both sides' counts in the window that begins at `window`. */
  window(window: number, canary: string, stable: string): CanaryWindow {
    return { canary: this.#arm(canary, window), baseline: this.#arm(stable, window) };
  }

  #arm(release: string, window: number): ArmWindow {
    const counted = this.#judged(release, window);
    if (!counted) return { n: 0, errors: 0, distinctErrors: 0 };
    const { requests, errors, latency, visitors } = counted;
    return { n: requests, errors, distinctErrors: Math.min(visitors.length, errors), hist: latency };
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
