/** Faults on order: the next calls that fit fail, before their work or after it. */
export interface Fault {
  readonly method?: string;
  /** A part of the path, or a pattern. Absent: any call. */
  readonly path?: string | RegExp;
  /** So many fitting calls pass before. */
  readonly skip?: number;
  /** So many fail. Absent: one. */
  readonly times?: number;
  /** An HTTP status, or `drop`: the connection ends without an answer. */
  readonly answer: number | "drop";
  readonly retryAfterS?: number;
  /** The work is done, only its answer is lost. */
  readonly afterWork?: boolean;
}

export class Faults {
  readonly #ordered: { fault: Fault; skip: number; times: number }[] = [];

  add(fault: Fault): void {
    this.#ordered.push({ fault, skip: fault.skip ?? 0, times: fault.times ?? 1 });
  }

  clear(): void {
    this.#ordered.length = 0;
  }

  /** The fault that this call meets, used up by it. */
  take(method: string, path: string): Fault | undefined {
    for (const ordered of this.#ordered) {
      const { fault } = ordered;
      const { path: wanted = "" } = fault;
      const fits = typeof wanted === "string" ? path.includes(wanted) : wanted.test(path);
      if ((fault.method ?? method) !== method || !fits || ordered.times === 0) continue;
      if (ordered.skip > 0) {
        ordered.skip -= 1;
        continue;
      }
      ordered.times -= 1;
      return fault;
    }
    return undefined;
  }
}

const WORDS: Readonly<Record<number, readonly [number, string]>> = {
  403: [10_000, "Authentication error"],
  429: [10_429, "Rate limited. Please wait and consider throttling your request speed"],
};

export const wordsOf = (status: number) => {
  const [code, message] = WORDS[status] ?? [10_001, "Internal error"];
  return { code, message };
};
