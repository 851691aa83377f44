import type { Output } from "./output.ts";

/** A text that changes in its place on a terminal; elsewhere, where every byte is kept, it is written when it is news. */
export class Screen {
  readonly #out: Output;
  #lines = 0;

  constructor(out: Output) {
    this.#out = out;
  }

  show(text: string, isNews: boolean): void {
    if (!this.#out.redrawsAnswer) {
      if (isNews) this.#out.print(text);
      return;
    }
    // A line that wraps would be two, and the next screen would be drawn below what is left of this one.
    const lines = text.split("\n").map((line) => line.slice(0, this.#out.columns - 1));
    const back = this.#lines > 0 ? `\r\u001b[${this.#lines}A\u001b[0J` : "";
    this.#out.draw(`${back}${lines.join("\n")}\n`);
    this.#lines = lines.length;
  }
}
