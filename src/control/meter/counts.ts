import type { Compared } from "../../domain/routing/compare.ts";
import { type MeterBatch, WINDOW_MS } from "../../domain/routing/meter.ts";
import { RouteNames } from "../../domain/routing/route-name.ts";
import { addComparisons, addEntry, addSplitEntry, type Counted, nothingCounted } from "./counted.ts";
import { Recent, type RecentCounts } from "./recent.ts";
import { splitFrom, splitText } from "./split.ts";
import { addToTotal, noTotal, type ReleaseTotal, sumByRelease, Totals } from "./totals.ts";

/** Windows older than this are dropped. */
const KEEP_MS = 3_600_000;
/** The edge sends a batch again for less long than this. */
const SEEN_MS = 300_000;
/** At rest counts are stored this often while they come closer than QUIET_MS to each other. */
const WRITE_EVERY_MS = 60_000;
/** An object that hears nothing for some 10 s may leave memory: what comes rarely is stored at once. */
const QUIET_MS = 5_000;
const PRUNE_EVERY_MS = 600_000;

type Row = {
  window: number;
  release: string;
  requests: number;
  failed: number;
  judged_requests: number | null;
  judged_errors: number | null;
  latency: ArrayBuffer | null;
  visitors: ArrayBuffer | null;
  classes: string | null;
  split: string | null;
  synthetic: string | null;
  compared: string | null;
};

/** What was ever counted, as far as it is stored: that never shrinks, whatever memory forgets. */
export interface StoredTotals {
  readonly releases: readonly ReleaseTotal[];
  /** Since when counts wait to be stored, ms; 0: all are. */
  readonly lagMs: number;
}

/**
 * What one part of an environment's edge counted, per release and 10 s window, in a Durable Object's SQLite.
 *
 * Each row written costs, and most of the time nobody judges: at rest counts gather in memory and are stored once a minute,
 * so that an eviction loses a minute of request totals at most. While a release is judged, whoever hands a batch over has it
 * stored before it is acknowledged, together with all that came meanwhile; one that comes again counts once.
 */
export class Counts {
  readonly #sql: SqlStorage;
  /** Whole rows as they are, or are to be, stored; of the last minutes. */
  readonly #held = new Map<string, Counted>();
  readonly #unstored = new Set<string>();
  readonly #folded: Totals;
  readonly #recent = new Recent();
  /** One list for all releases: what is compared has the same name on both sides. */
  readonly #routes = new RouteNames();
  /** Of all that is stored. Undefined: nobody has asked since the object woke. */
  #totals: Map<string, ReleaseTotal> | undefined;
  /** What is to be added to them when it is stored. */
  readonly #fresh = new Map<string, ReleaseTotal>();
  #waitingSince: number | undefined;
  /** When each batch was first seen, epoch ms, oldest first; those of judged releases are stored as well. */
  readonly #seen = new Map<string, number>();
  #unstoredIds: string[] = [];
  #batchesAt = 0;
  #heardAt = 0;
  #storedAt = 0;
  #prunedAt = 0;
  readonly #use: (kind: "visitors" | "objectRows", count: number) => void;

  /** `use`: told of visitors' requests when they are counted, and of rows when they are written. */
  constructor(sql: SqlStorage, use: (kind: "visitors" | "objectRows", count: number) => void = () => {}) {
    this.#sql = sql;
    this.#use = use;
    // By window first, so that the old ones are one stretch; without row ids, so that a row is one write and not two.
    sql.exec(`CREATE TABLE IF NOT EXISTS counts (
      window INTEGER NOT NULL, release TEXT NOT NULL, requests INTEGER NOT NULL, failed INTEGER NOT NULL,
      judged_requests INTEGER, judged_errors INTEGER, latency BLOB, visitors BLOB,
      classes TEXT, split TEXT, synthetic TEXT, compared TEXT, PRIMARY KEY (window, release)) WITHOUT ROWID`);
    // Of an object that was made before there were any.
    for (const column of ["classes", "split", "synthetic", "compared"]) {
      const [known] = sql.exec("SELECT 1 FROM pragma_table_info('counts') WHERE name = ?", column);
      if (!known) sql.exec(`ALTER TABLE counts ADD COLUMN ${column} TEXT`);
    }
    this.#folded = new Totals(sql);
    // Ids of batches that were stored together, in one row. `at`, epoch ms, only rises.
    sql.exec("CREATE TABLE IF NOT EXISTS batches (at INTEGER PRIMARY KEY, ids TEXT NOT NULL)");
    for (const { at, ids } of sql.exec<{ at: number; ids: string }>(
      "SELECT at, ids FROM batches ORDER BY at",
    ))
      for (const id of ids.split(" ")) this.#seen.set(id, at);
    this.#batchesAt = Math.max(0, ...this.#seen.values());
  }

  /** Adds a batch, once however often it comes. `now`: epoch ms. True: its sender waits until `store` was called. */
  absorb(batch: MeterBatch, now: number): boolean {
    const isJudged = batch.judged !== false;
    if (this.#seen.has(batch.id)) return isJudged && this.#unstored.size > 0;
    this.#seen.set(batch.id, now);
    if (isJudged) this.#unstoredIds.push(batch.id);
    for (const entry of batch.entries) {
      if (!isKept(entry.window, now)) continue;
      const counted = this.#hold(entry.release, entry.window);
      addEntry(counted, entry);
      addSplitEntry(counted, entry, this.#namesFor(entry, now));
      if (!entry.synthetic) this.#recent.add(entry, now);
      this.#note(entry);
      if (!entry.synthetic) this.#use("visitors", entry.requests);
      this.#unstored.add(keyOf(counted));
    }
    for (const { release, window, compared } of batch.mirrored) {
      if (!compared || !isKept(window, now)) continue;
      const counted = this.#hold(release, window);
      addComparisons(counted, compared);
      this.#unstored.add(keyOf(counted));
    }
    this.#waitingSince ??= now;
    const isRare = now - this.#heardAt > QUIET_MS;
    this.#heardAt = now;
    if (isJudged) return true;
    if (isRare || now - this.#storedAt >= WRITE_EVERY_MS) this.store(now);
    return false;
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

  /** By instance, of the last whole windows, as far as memory goes. */
  recent(now: number): RecentCounts[] {
    return this.#recent.read(now);
  }

  /** What was ever counted of each release. Counts that came at rest are stored for it when they have waited too long. */
  totals(now: number): StoredTotals {
    const since = this.#waitingSince;
    if (since !== undefined && now - since >= WRITE_EVERY_MS) this.store(now);
    if (!this.#totals) {
      this.#totals = this.#folded.read();
      const rows = [...this.#sql.exec<Row>("SELECT * FROM counts")];
      sumByRelease(rows.map(fromRow), this.#totals);
    }
    const lagMs = this.#waitingSince === undefined ? 0 : Math.max(0, now - this.#waitingSince);
    return { releases: [...this.#totals.values()], lagMs };
  }

  #namesFor({ routes = [] }: MeterBatch["entries"][number], now: number): (route: string) => string {
    const names = new Map(
      routes.map(({ route, requests, errors }) => [
        route,
        this.#routes.admit(route, errors > 0, now, requests),
      ]),
    );
    return (route) => names.get(route) ?? route;
  }

  #note(entry: MeterBatch["entries"][number]): void {
    const alone = nothingCounted(entry.release, entry.window);
    addEntry(alone, entry);
    sumByRelease([alone], this.#fresh);
  }

  #settleTotals(): void {
    const totals = this.#totals;
    for (const [release, fresh] of totals ? this.#fresh : []) {
      const total = totals?.get(release) ?? noTotal(release);
      addToTotal(total, fresh);
      totals?.set(release, total);
    }
    this.#fresh.clear();
    this.#waitingSince = undefined;
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

  /** Writes what is not stored yet, and now and then drops what is too old. */
  store(now: number): void {
    for (const key of this.#unstored) {
      const counted = this.#held.get(key);
      if (counted) this.#write(counted);
    }
    if (this.#unstoredIds.length > 0)
      this.#put(
        "INSERT OR REPLACE INTO batches VALUES (?, ?)",
        this.#nextAt(now),
        this.#unstoredIds.join(" "),
      );
    this.#settleTotals();
    this.#unstored.clear();
    this.#unstoredIds = [];
    this.#storedAt = now;
    for (const [key, { window }] of this.#held) if (window < now - WRITE_EVERY_MS) this.#held.delete(key);
    if (now - this.#prunedAt < PRUNE_EVERY_MS) return;
    this.#prunedAt = now;
    this.#fold(now);
    this.#put("DELETE FROM counts WHERE window < ?", now - KEEP_MS);
    this.#put("DELETE FROM batches WHERE at < ?", now - SEEN_MS);
    for (const [id, at] of this.#seen) {
      if (at >= now - SEEN_MS) break;
      this.#seen.delete(id);
    }
  }

  /** Before windows are dropped, they go into the totals. */
  #fold(now: number): void {
    const old = [...this.#sql.exec<Row>("SELECT * FROM counts WHERE window < ?", now - KEEP_MS)].map(fromRow);
    this.#use("objectRows", this.#folded.fold(old, now));
  }

  #put(query: string, ...bindings: SqlStorageValue[]): void {
    this.#use("objectRows", this.#sql.exec(query, ...bindings).rowsWritten);
  }

  #nextAt(now: number): number {
    this.#batchesAt = Math.max(now, this.#batchesAt + 1);
    return this.#batchesAt;
  }

  #write(counted: Counted): void {
    const { window, release, requests, failed, judged, classes, split, synthetic, compared } = counted;
    this.#put(
      `INSERT OR REPLACE INTO counts (window, release, requests, failed, judged_requests, judged_errors, latency,
        visitors, classes, split, synthetic, compared) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      window,
      release,
      requests,
      failed,
      judged?.requests ?? null,
      judged?.errors ?? null,
      judged ? judged.latency.slice().buffer : null,
      judged ? judged.visitors.slice().buffer : null,
      JSON.stringify(classes),
      split ? splitText(split) : null,
      synthetic ? splitText(synthetic) : null,
      compared ? JSON.stringify(compared) : null,
    );
  }
}

/** A clock far off would leave windows that no clean-up reaches. */
const isKept = (window: number, now: number): boolean => window <= now + WINDOW_MS && window >= now - KEEP_MS;

const keyOf = ({ window, release }: Counted): string => `${window} ${release}`;

const fromRow = (row: Row): Counted => ({
  release: row.release,
  window: row.window,
  requests: row.requests,
  failed: row.failed,
  classes: row.classes === null ? [0, 0, 0, 0, 0, 0] : (JSON.parse(row.classes) as number[]),
  ...(row.split === null ? {} : { split: splitFrom(row.split) }),
  ...(row.synthetic === null ? {} : { synthetic: splitFrom(row.synthetic) }),
  // Written by this class.
  ...(row.compared === null ? {} : { compared: JSON.parse(row.compared) as Compared }),
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
