import { parentPort } from "node:worker_threads";
import { type Ran, runSeed } from "./run.ts";
import { NONE, type Range, type Simulated, sum } from "./spread.ts";

/** One of the simulation's threads: plays each range of seeds that it is sent. */
parentPort?.on("message", async ({ from, count }: Range) => {
  const failed: Ran[] = [];
  let figures = NONE;
  for (let seed = from; seed < from + count; seed++) {
    const ran = await runSeed(seed);
    figures = sum(figures, ran.figures);
    if (ran.faults.length > 0) failed.push(ran);
  }
  parentPort?.postMessage({ failed, figures } satisfies Simulated);
});
