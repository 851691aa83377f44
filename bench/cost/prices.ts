/**
 * What Cloudflare allows and charges, read on 2026-11-28 from its pricing pages. The only place that has prices.
 * https://developers.cloudflare.com/workers/platform/pricing/, https://developers.cloudflare.com/durable-objects/platform/pricing/,
 * https://developers.cloudflare.com/d1/platform/pricing/, https://developers.cloudflare.com/kv/platform/pricing/
 */
export const READ_ON = "2026-11-28";

/** Everything that is billed, counted. */
export interface Usage {
  readonly workerRequests: number;
  readonly objectRequests: number;
  /** GB-s: 128 MB for as long as an object is at work. */
  readonly objectGbS: number;
  readonly objectRead: number;
  readonly objectWritten: number;
  readonly d1Read: number;
  readonly d1Written: number;
  readonly kvRead: number;
  readonly kvWritten: number;
}
export type Item = keyof Usage;

interface Price {
  readonly words: string;
  /** A day on Free; what goes beyond fails until 00:00 UTC. */
  readonly freeADay: number;
  /** A month on Paid, within its $5. */
  readonly included: number;
  /** US$ for each million beyond. */
  readonly perMillion: number;
}

export const PLAN_USD = 5;
export const PRICES: Readonly<Record<Item, Price>> = {
  workerRequests: { words: "Worker requests", freeADay: 1e5, included: 10e6, perMillion: 0.3 },
  objectRequests: { words: "Durable Object requests", freeADay: 1e5, included: 1e6, perMillion: 0.15 },
  objectGbS: { words: "Durable Object duration, GB-s", freeADay: 13_000, included: 4e5, perMillion: 12.5 },
  objectRead: { words: "Durable Object rows read", freeADay: 5e6, included: 25e9, perMillion: 0.001 },
  objectWritten: { words: "Durable Object rows written", freeADay: 1e5, included: 50e6, perMillion: 1 },
  d1Read: { words: "D1 rows read", freeADay: 5e6, included: 25e9, perMillion: 0.001 },
  d1Written: { words: "D1 rows written", freeADay: 1e5, included: 50e6, perMillion: 1 },
  kvRead: { words: "KV reads", freeADay: 1e5, included: 10e6, perMillion: 0.5 },
  kvWritten: { words: "KV writes", freeADay: 1_000, included: 1e6, perMillion: 5 },
};
export const ITEMS = Object.keys(PRICES) as Item[];

export const NOTHING: Usage = {
  workerRequests: 0,
  objectRequests: 0,
  objectGbS: 0,
  objectRead: 0,
  objectWritten: 0,
  d1Read: 0,
  d1Written: 0,
  kvRead: 0,
  kvWritten: 0,
};

const each = (make: (item: Item) => number): Usage =>
  Object.fromEntries(ITEMS.map((item) => [item, make(item)])) as unknown as Usage; // Every item is there.

export const sum = (...parts: readonly Usage[]): Usage =>
  each((item) => parts.reduce((total, part) => total + part[item], 0));
export const times = (usage: Usage, factor: number): Usage => each((item) => usage[item] * factor);
export const less = (usage: Usage, before: Usage): Usage => each((item) => usage[item] - before[item]);

/** The largest share of a day's allowance of Free, and whose it is. */
export function tightest(day: Usage): { readonly item: Item; readonly share: number } {
  const shares = ITEMS.map((item) => ({ item, share: day[item] / PRICES[item].freeADay }));
  return shares.reduce((most, one) => (one.share > most.share ? one : most));
}

/** US$ of an item in a month on Paid, without the plan's own. */
export const charge = (item: Item, amount: number): number =>
  (Math.max(0, amount - PRICES[item].included) / 1e6) * PRICES[item].perMillion;

/** US$ of a month on Paid, all in. */
export const bill = (month: Usage): number =>
  ITEMS.reduce((total, item) => total + charge(item, month[item]), PLAN_USD);
