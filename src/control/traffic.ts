import { type MeterBatch, WINDOW_MS } from "../domain/meter.ts";

/** Windows older than this are dropped from the coordinator's storage. */
const KEEP_MS = 3_600_000;
/** The edge sends a batch again for less long than this. */
const SEEN_MS = 300_000;

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
    }
    this.#sql.exec("DELETE FROM traffic WHERE window < ?", now - KEEP_MS);
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
