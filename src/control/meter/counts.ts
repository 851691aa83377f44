import { type MeterBatch, WINDOW_MS } from "../../domain/routing/meter.ts";
import { addEntry, type Counted, nothingCounted } from "./counted.ts";

/** Windows older than this are dropped. */
const KEEP_MS = 3_600_000;
/** The edge sends a batch again for less long than this. */
const SEEN_MS = 300_000;
/** At rest counts are stored this often while they come closer than QUIET_MS to each other. */
const WRITE_EVERY_MS = 60_000;
/** An object that hears nothing for some 10 s may leave memory: what comes rarely is stored at once. */
const QUIET_MS = 5_000;
const PRUNE_EVERY_MS = 60_000;
/** Batches remembered in memory at rest, against one that comes twice. */
const SEEN_MAX = 1_000;

type Row = {
  window: number;
  release: string;
  requests: number;
  failed: number;
  judged_requests: number | null;
  judged_errors: number | null;
  latency: ArrayBuffer | null;
  visitors: ArrayBuffer | null;
};

/**
 * What one part of an environment's edge counted, per release and 10 s window, in a Durable Object's SQLite.
 *
 * Each row written costs, and most of the time nobody judges: at rest counts gather in memory and are stored once a minute,
 * so that an eviction loses a minute of request totals at most. While a release is judged, every batch is stored before it
 * is acknowledged, and one that comes again counts once.
 */
export class Counts {
  readonly #sql: SqlStorage;
  /** Whole rows as they are, or are to be, stored; of the last minutes. */
  readonly #held = new Map<string, Counted>();
  readonly #unstored = new Set<string>();
  readonly #seen = new Set<string>();
  #heardAt = 0;
  #storedAt = 0;
  #prunedAt = 0;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    // By window first, so that the old ones are one stretch; without row ids, so that a row is one write and not two.
    sql.exec(`CREATE TABLE IF NOT EXISTS counts (
      window INTEGER NOT NULL, release TEXT NOT NULL, requests INTEGER NOT NULL, failed INTEGER NOT NULL,
      judged_requests INTEGER, judged_errors INTEGER, latency BLOB, visitors BLOB,
      PRIMARY KEY (window, release)) WITHOUT ROWID`);
    sql.exec("CREATE TABLE IF NOT EXISTS batches (id TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID");
  }

  /** Adds a batch, once however often it comes. `now`: epoch ms. */
  absorb(batch: MeterBatch, now: number): void {
    const isJudged = batch.judged !== false;
    if (!this.#isNew(batch.id, isJudged, now)) return;
    for (const entry of batch.entries) {
      // A clock far off would leave windows that no clean-up reaches.
      if (entry.window > now + WINDOW_MS || entry.window < now - KEEP_MS) continue;
      const counted = this.#hold(entry.release, entry.window);
      addEntry(counted, entry);
      this.#unstored.add(keyOf(counted));
    }
    const isRare = now - this.#heardAt > QUIET_MS;
    this.#heardAt = now;
    if (isJudged || isRare || now - this.#storedAt >= WRITE_EVERY_MS) this.#store(now);
  }

  /** Windows from `from` up to, not including, `to`; of these releases, or of all. Oldest first. */
  read(from: number, to: number, releases?: readonly string[]): Counted[] {
    const found = new Map<string, Counted>();
    const rows = this.#sql.exec<Row>(
      "SELECT * FROM counts WHERE window >= ? AND window < ? ORDER BY window",
      from,
      to,
    );
    for (const row of rows) found.set(`${row.window} ${row.release}`, fromRow(row));
    for (const [key, counted] of this.#held)
      if (counted.window >= from && counted.window < to) found.set(key, counted);
    return [...found.values()]
      .filter(({ release }) => releases?.includes(release) ?? true)
      .sort((a, b) => a.window - b.window);
  }

  #isNew(id: string, isJudged: boolean, now: number): boolean {
    if (this.#seen.has(id)) return false;
    this.#seen.add(id);
    for (const oldest of this.#seen) {
      if (this.#seen.size <= SEEN_MAX) break;
      this.#seen.delete(oldest);
    }
    if (!isJudged) return true;
    return this.#sql.exec("INSERT OR IGNORE INTO batches VALUES (?, ?)", id, now).rowsWritten > 0;
  }

  #hold(release: string, window: number): Counted {
    const key = `${window} ${release}`;
    const held = this.#held.get(key);
    if (held) return held;
    const [row] = this.#sql.exec<Row>(
      "SELECT * FROM counts WHERE window = ? AND release = ?",
      window,
      release,
    );
    const counted = row ? fromRow(row) : nothingCounted(release, window);
    this.#held.set(key, counted);
    return counted;
  }

  #store(now: number): void {
    for (const key of this.#unstored) {
      const counted = this.#held.get(key);
      if (counted) this.#write(counted);
    }
    this.#unstored.clear();
    this.#storedAt = now;
    for (const [key, { window }] of this.#held) if (window < now - WRITE_EVERY_MS) this.#held.delete(key);
    if (now - this.#prunedAt < PRUNE_EVERY_MS) return;
    this.#prunedAt = now;
    this.#sql.exec("DELETE FROM counts WHERE window < ?", now - KEEP_MS);
    this.#sql.exec("DELETE FROM batches WHERE at < ?", now - SEEN_MS);
  }

  #write({ window, release, requests, failed, judged }: Counted): void {
    this.#sql.exec(
      "INSERT OR REPLACE INTO counts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
      window,
      release,
      requests,
      failed,
      judged?.requests ?? null,
      judged?.errors ?? null,
      judged ? judged.latency.slice().buffer : null,
      judged ? judged.visitors.slice().buffer : null,
    );
  }
}

const keyOf = ({ window, release }: Counted): string => `${window} ${release}`;

const fromRow = (row: Row): Counted => ({
  release: row.release,
  window: row.window,
  requests: row.requests,
  failed: row.failed,
  judged:
    row.latency && row.visitors
      ? {
          requests: row.judged_requests ?? 0,
          errors: row.judged_errors ?? 0,
          latency: new Float64Array(row.latency),
          visitors: new Uint8Array(row.visitors),
        }
      : null,
});
