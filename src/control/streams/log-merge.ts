import type { LogLine } from "../../protocol/agent/logs.ts";
import { BoundedMap } from "../bounded-map.ts";

export interface MergedLine extends LogLine {
  /** Name of its host. */
  readonly host: string;
}

export interface MergeTimes {
  /** For so long a line waits for earlier ones of other hosts. */
  readonly windowMs: number;
  /** For so long at most it waits for a host that still reads what was written before. */
  readonly holdMs: number;
}
export const MERGE_TIMES: MergeTimes = { windowMs: 300, holdMs: 3_000 };

/** What it holds at most, in characters; a chunk more may come on top. */
const MAX_CHARS = 2_000_000;
/** Whose last time is remembered. */
const MAX_INSTANCES = 1_000;
/** What a line costs beside its text. */
const LINE_CHARS = 200;

/**
 * How a host stands. `asked`: its first line may come any moment. `reading`: it tells the past, whose times only rise.
 * `live`: it tells what is written just now. `quiet`: nothing is waited for.
 */
export type Standing = "asked" | "reading" | "live" | "quiet";

interface Waiting {
  readonly line: MergedLine;
  /** When it was written; never before the line that the same instance wrote before it, whatever the clock said. */
  readonly key: number;
  readonly arrivedAt: number;
}

/** Puts the lines of several hosts into the order they were written in. Pure but for its memory: time is passed in. */
export class LogMerge {
  readonly #times: MergeTimes;
  #waiting: Waiting[] = [];
  #chars = 0;
  readonly #hosts = new Map<string, { standing: Standing; newest: number }>();
  readonly #newest = new BoundedMap<string, number>(MAX_INSTANCES);

  constructor(times: MergeTimes = MERGE_TIMES) {
    this.#times = times;
  }

  get hasRoom(): boolean {
    return this.#chars < MAX_CHARS;
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  stand(host: string, standing: Standing): void {
    const { newest } = this.#hosts.get(host) ?? { newest: Number.NEGATIVE_INFINITY };
    this.#hosts.set(host, { standing, newest });
  }

  push(host: string, lines: readonly LogLine[], now: number): void {
    const known = this.#hosts.get(host);
    for (const line of lines) {
      const key = Math.max(line.at, this.#newest.get(line.instance) ?? 0);
      this.#newest.set(line.instance, key);
      if (known) known.newest = Math.max(known.newest, key);
      this.#waiting.push({ line: { ...line, host }, key, arrivedAt: now });
      this.#chars += line.text.length + LINE_CHARS;
    }
    // A stable sort: what has the same time stays as it came.
    this.#waiting.sort((a, b) => a.key - b.key);
  }

  /** The next lines whose turn it is, at most so many. */
  take(now: number, max: { lines: number; chars: number }): MergedLine[] {
    const until = this.#limit(now);
    let chars = 0;
    let count = 0;
    for (const { key, line } of this.#waiting) {
      if (key > until || count >= max.lines || (count > 0 && chars + line.text.length > max.chars)) break;
      chars += line.text.length;
      count += 1;
    }
    const taken = this.#waiting.splice(0, count);
    this.#chars -= chars + count * LINE_CHARS;
    return taken.map(({ line }) => line);
  }

  /** Up to which time all is there that can still be waited for. */
  #limit(now: number): number {
    const standings = [...this.#hosts.values()];
    const past = standings.filter(({ standing }) => standing === "reading").map(({ newest }) => newest);
    const told = standings.some(({ standing }) => standing === "asked") ? [Number.NEGATIVE_INFINITY] : past;
    const isAnyLive = standings.some(({ standing }) => standing === "live");
    const due = isAnyLive ? this.#newestOf(now - this.#times.windowMs) : Number.POSITIVE_INFINITY;
    const inOrder = Math.min(due, ...told);
    const held = this.#newestOf(now - this.#times.holdMs);
    // Too much to hold: the older half goes, in whatever order the rest will come.
    const pressed = this.hasRoom ? held : (this.#waiting[this.#waiting.length >> 1]?.key ?? held);
    return Math.max(inOrder, held, pressed);
  }

  /** The newest time among the lines that had arrived by then. */
  #newestOf(arrivedBy: number): number {
    return this.#waiting.findLast(({ arrivedAt }) => arrivedAt <= arrivedBy)?.key ?? Number.NEGATIVE_INFINITY;
  }
}
