import { LOG_CHUNK, type LogLine } from "../../src/protocol/agent/logs.ts";

/** What the next chunk will carry. */
export interface Parcel {
  lines: LogLine[];
  droppedBytes: number;
  problem?: string;
}

/**
 * Lines on their way to control: one chunk's worth. Whoever brings more waits until it was sent, and with it the reading of
 * the log: a reader that is slow, or a control plane that is away, costs no memory and no line.
 */
export class LogOutbox {
  #parcel: Parcel = { lines: [], droppedBytes: 0 };
  #bytes = 0;
  #room = Promise.withResolvers<void>();
  readonly #onChange: () => void;

  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  get isEmpty(): boolean {
    const { lines, droppedBytes, problem } = this.#parcel;
    return lines.length === 0 && droppedBytes === 0 && problem === undefined;
  }

  get isFull(): boolean {
    return this.#parcel.lines.length >= LOG_CHUNK.lines || this.#bytes >= LOG_CHUNK.bytes;
  }

  /** Resolves when the line is in; with the signal aborted, at once and without it. */
  async add(line: LogLine, signal: AbortSignal): Promise<void> {
    while (this.isFull && !signal.aborted) await this.#room.promise;
    if (signal.aborted) return;
    this.#parcel.lines.push(line);
    this.#bytes += Buffer.byteLength(JSON.stringify(line));
    this.#onChange();
  }

  drop(bytes: number): void {
    this.#parcel.droppedBytes += bytes;
    this.#onChange();
  }

  /** Says in words why there are not all lines; the newest words win. */
  complain(problem: string): void {
    this.#parcel.problem = problem.slice(0, 500);
    this.#onChange();
  }

  take(): Parcel {
    const parcel = this.#parcel;
    this.#parcel = { lines: [], droppedBytes: 0 };
    this.#bytes = 0;
    this.release();
    return parcel;
  }

  /** Lets those that wait look again. */
  release(): void {
    this.#room.resolve();
    this.#room = Promise.withResolvers<void>();
  }
}
