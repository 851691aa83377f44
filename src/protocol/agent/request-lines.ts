/** Begins what belongs to the line before it: a stack trace, the rest of an object. */
const GOES_ON = /^(?:\s|[})\]]|Traceback \(|Caused by: |[\w.]+(?:Error|Exception)\b)/;
const IN_WORD = /[A-Za-z0-9]/;

/** Picks out of one log the lines about a request: those that hold its id, and right behind one what belongs to it. */
export class RequestLines {
  readonly #id: string;
  #isWithin = false;

  constructor(id: string) {
    this.#id = id;
  }

  /** Whether the log's next line is one of them. */
  takes(text: string): boolean {
    this.#isWithin = this.#holdsId(text) || (this.#isWithin && GOES_ON.test(text));
    return this.#isWithin;
  }

  /** Ids are counted up: that of one request begins that of another. */
  #holdsId(text: string): boolean {
    const id = this.#id;
    for (let at = text.indexOf(id); at >= 0; at = text.indexOf(id, at + 1))
      if (!IN_WORD.test(text[at - 1] ?? "") && !IN_WORD.test(text[at + id.length] ?? "")) return true;
    return false;
  }
}
