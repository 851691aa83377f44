import { Worker } from "node:worker_threads";
import type { Ran } from "./run.ts";

const SEEDS_AT_ONCE = 50;

export interface Range {
  readonly from: number;
  readonly count: number;
}
export type Figures = Ran["figures"];
export interface Simulated {
  /** Those with faults, by seed. */
  readonly failed: readonly Ran[];
  readonly figures: Figures;
}

/** Plays a range of seeds on several threads; each takes the next few when it is done. */
export async function simulate({ from, count }: Range, threads: number): Promise<Simulated> {
  const failed: Ran[] = [];
  let figures = NONE;
  let next = from;
  const take = (): Range | null => {
    const left = from + count - next;
    if (left <= 0) return null;
    const range = { from: next, count: Math.min(SEEDS_AT_ONCE, left) };
    next += range.count;
    return range;
  };
  const work = () =>
    new Promise<void>((resolve, reject) => {
      const worker = new Worker(new URL("./thread.ts", import.meta.url).pathname);
      const give = () => {
        const range = take();
        if (range) return worker.postMessage(range);
        void worker.terminate().then(() => resolve());
      };
      worker.on("message", (part: Simulated) => {
        failed.push(...part.failed);
        figures = sum(figures, part.figures);
        give();
      });
      worker.on("error", reject);
      give();
    });
  await Promise.all(Array.from({ length: threads }, work));
  return { failed: failed.sort((a, b) => a.seed - b.seed), figures };
}

export const NONE: Figures = {
  ...{ events: 0, visits: 0, answered: 0, lost: 0, acts: 0, lostMessages: 0, doubledMessages: 0 },
  byAct: {},
};

export const sum = (a: Figures, b: Figures): Figures => ({
  events: a.events + b.events,
  visits: a.visits + b.visits,
  answered: a.answered + b.answered,
  lost: a.lost + b.lost,
  acts: a.acts + b.acts,
  lostMessages: a.lostMessages + b.lostMessages,
  doubledMessages: a.doubledMessages + b.doubledMessages,
  byAct: sumOfActs(a.byAct, b.byAct),
});

function sumOfActs(a: Figures["byAct"], b: Figures["byAct"]): Figures["byAct"] {
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  const of = (name: string, what: "done" | "refused") => (a[name]?.[what] ?? 0) + (b[name]?.[what] ?? 0);
  return Object.fromEntries(
    [...names].map((name) => [name, { done: of(name, "done"), refused: of(name, "refused") }]),
  );
}
