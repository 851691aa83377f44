import type { Used } from "../domain/allowances.ts";
import { logWarning } from "./log.ts";

type Kind = keyof Used;

/** Told in pieces of a 500th of what Free allows in a day, so that a day's telling takes no more than 2,000 rows of D1's. */
const PIECE: Readonly<Record<Kind, number>> = {
  visitors: 200,
  objectCalls: 200,
  objectRows: 200,
  tableCopies: 2,
};
const KINDS = Object.keys(PIECE) as Kind[];
/** An object that told much of a day tells in larger pieces: what nobody knows of stays a hundredth, and D1's rows stay few. */
const SHARE = 100;
const DAY_MS = 86_400_000;

/** D1 that did not take it is left alone for so long. */
const RETRY_MS = 60_000;

interface UseParts {
  /** Adds to the day's row. */
  readonly tell: (used: Used, now: number) => Promise<void>;
  /** At least 0, below 1. */
  readonly random?: () => number;
}

/**
 * What an object uses of the day's allowances, told in whole pieces to one row in D1, so that whoever asks reads one row however
 * many objects there are.
 *
 * An object leaves memory after some seconds of quiet, and with it what it has not told. Therefore each begins with a random part of a
 * piece: what is told too much by that is on the average what others forget.
 */
export class Use {
  readonly #parts: UseParts;
  readonly #held: Record<Kind, number>;
  /** On the UTC day that `#day` says. */
  readonly #told: Record<Kind, number> = { visitors: 0, objectCalls: 0, objectRows: 0, tableCopies: 0 };
  #day = 0;
  #notBefore = 0;

  constructor(parts: UseParts) {
    this.#parts = parts;
    const { random = Math.random } = parts;
    const begun = (kind: Kind) => Math.floor(random() * PIECE[kind]);
    this.#held = {
      visitors: begun("visitors"),
      objectCalls: begun("objectCalls"),
      objectRows: begun("objectRows"),
      tableCopies: begun("tableCopies"),
    };
  }

  /** So many more. They are told with the next call. */
  add(kind: Kind, count: number): void {
    this.#held[kind] += count;
  }

  /** One more call, at `now` (epoch ms). Nobody waits for it to be told: at most one query to D1 for each call. */
  call(now: number): void {
    this.add("objectCalls", 1);
    this.#begin(Math.floor(now / DAY_MS));
    if (now < this.#notBefore || KINDS.every((kind) => this.#held[kind] < this.#pieceOf(kind))) return;
    const whole = this.#take();
    this.#parts.tell(whole, now).catch((error) => {
      for (const kind of KINDS) this.add(kind, whole[kind]);
      this.#notBefore = now + RETRY_MS;
      logWarning("use.untold", { error: String(error) });
    });
  }

  #begin(day: number): void {
    if (day === this.#day) return;
    this.#day = day;
    for (const kind of KINDS) this.#told[kind] = 0;
  }

  #pieceOf(kind: Kind): number {
    return Math.max(PIECE[kind], Math.floor(this.#told[kind] / SHARE));
  }

  #take(): Used {
    const take = (kind: Kind) => {
      const rest = this.#held[kind] % this.#pieceOf(kind);
      const whole = this.#held[kind] - rest;
      this.#held[kind] = rest;
      this.#told[kind] += whole;
      return whole;
    };
    return {
      visitors: take("visitors"),
      objectCalls: take("objectCalls"),
      objectRows: take("objectRows"),
      tableCopies: take("tableCopies"),
    };
  }
}
