import { setTimeout as timeout } from "node:timers/promises";

/** Time as the agent sees it, handed in so that tests can hold it still. */
export interface Clock {
  /** Epoch ms. For telling when; it may be set forward and back at any moment. */
  now(): number;
  /** Ms since some moment. For how long: nobody sets it. */
  monotonic(): number;
  /** Resolves after `ms`, or at once when the signal aborts: callers look at the signal, not for an exception. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  async sleep(ms, signal) {
    try {
      await timeout(ms, undefined, signal ? { signal } : {});
    } catch (thrown) {
      if (!signal?.aborted) throw thrown;
    }
  },
};

/** `ms` give or take a fifth, so that a fleet that lost control together doesn't come back together. */
export const jittered = (ms: number, random: () => number = Math.random): number =>
  Math.round(ms * (0.8 + 0.4 * random()));

/** Of a control that is being restarted or deployed: for two minutes it is looked for without much of a pause. */
const QUICK = { tries: 75, first: 400, max: 1_600 };
const PATIENT = { first: 2_000, max: 30_000 };

/** Pause before the next try at a control that did not answer: at most 2 s at first, half a minute in the long run. */
export const outagePause = (tries: number): number =>
  jittered(tries < QUICK.tries ? backOff(tries, QUICK) : backOff(tries - QUICK.tries, PATIENT));

/** Doubling delays for a thing that keeps failing: first, 2·first, 4·first … up to `max`. */
export const backOff = (attempt: number, { first, max }: { first: number; max: number }): number =>
  Math.min(max, first * 2 ** Math.min(attempt, 30));
