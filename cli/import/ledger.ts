/** What became of each key of a file that is taken over: nothing is dropped without a word. */

export type Fate =
  /** It stands in the manifest now. */
  | "taken"
  /** A person has to do it. */
  | "todo"
  /** Sluice does it by itself, or has no need for it. */
  | "needless"
  /** Sluice has nothing like it. */
  | "lost";

export interface Entry {
  /** Dotted path in the file: `services.web.ports`. */
  readonly key: string;
  readonly fate: Fate;
  /** What it became, what is to be done, or why it isn't needed. */
  readonly words: string;
}

export class Ledger {
  readonly #entries: Entry[] = [];

  note(fate: Fate, key: string, words: string): void {
    this.#entries.push({ key, fate, words });
  }

  /** All entries, with one for each key of the source that nobody spoke of. */
  close(source: unknown): readonly Entry[] {
    const isTold = (path: string) =>
      this.#entries.some(
        ({ key }) => path === key || path.startsWith(`${key}.`) || key.startsWith(`${path}.`),
      );
    const forgotten = keysOf(source).filter((path) => !isTold(path));
    const lost = forgotten.filter((path) => !forgotten.some((other) => path.startsWith(`${other}.`)));
    return [
      ...this.#entries,
      ...lost.map((key): Entry => ({ key, fate: "lost", words: "Sluice has no such key" })),
    ];
  }
}

/** Why a key has nothing to become, by its name. */
export type Reasons = Readonly<Record<string, readonly [Exclude<Fate, "taken">, string]>>;

/** Says so of each key of a table that has one of them. `at`: the table's own path, with its dot. */
export function noteReasons(ledger: Ledger, at: string, table: unknown, reasons: Reasons): void {
  const given = recordOf(table);
  for (const [key, [fate, words]] of Object.entries(reasons))
    if (given[key] !== undefined) ledger.note(fate, `${at}${key}`, words);
}

function keysOf(value: unknown, path = ""): string[] {
  return Object.entries(recordOf(value)).flatMap(([key, below]) => {
    const at = path === "" ? key : `${path}.${key}`;
    return [at, ...keysOf(below, at)];
  });
}

/** A map's entries; of anything else none. */
export const recordOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};

export const listOf = (value: unknown): readonly unknown[] =>
  value === undefined || value === null ? [] : Array.isArray(value) ? value : [value];

export const textOf = (value: unknown): string | undefined =>
  typeof value === "string" || typeof value === "number" || typeof value === "boolean"
    ? String(value)
    : undefined;

export const textsOf = (value: unknown): readonly string[] =>
  listOf(value).flatMap((one) => textOf(one) ?? []);
