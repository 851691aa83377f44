/** How tests bear a machine that does much else. */
import { vi } from "vitest";

/** For a test that holds a product's own figure in milliseconds, or an order that only time makes: the best of three counts. */
export const TIMED = { retry: 2 } as const;

/** Waits until `look` no longer throws, as long as a busy machine needs; gives back what it gave. */
export const waitFor = <T>(look: () => T | Promise<T>): Promise<T> =>
  vi.waitFor(look, { timeout: 60_000, interval: 20 });
