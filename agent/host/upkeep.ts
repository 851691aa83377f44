import { type Clock, jittered } from "../clock.ts";
import type { Instances } from "../instances/instances.ts";
import type { Journal } from "../journal.ts";
import type { Log } from "../log.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Images } from "./images.ts";

const EVERY_MS = 3_600_000;
/** A release's old instances are stopped one after the other: tidying once behind them is enough. */
const SETTLE_MS = 10_000;

export interface UpkeepOptions {
  runtime: Runtime;
  instances: Instances;
  images: Images;
  journal: Journal;
  clock: Clock;
  log: Log;
}

/** Keeps the host tidy until aborted: each hour, and a while after something was stopped. */
export async function keepTidy(options: UpkeepOptions, signal: AbortSignal): Promise<void> {
  const { images, clock, log } = options;
  while (!signal.aborted) {
    await images.untilWanted(signal, jittered(EVERY_MS));
    await clock.sleep(SETTLE_MS, signal);
    if (signal.aborted) return;
    try {
      await sweep(options);
      await images.prune();
    } catch (thrown) {
      // Tidying is never worth the agent's life.
      log.error("tidying broke", { error: thrown instanceof Error ? thrown.stack : String(thrown) });
    }
  }
}

async function sweep({ runtime, instances, journal, clock, log }: UpkeepOptions): Promise<void> {
  const known = {
    instance: (instance: string) => instances.isKnown(instance),
    run: (run: string) => journal.state.runs[run]?.removed === false,
  };
  const swept = await runtime.sweep?.(known, clock.now());
  if (swept && !swept.ok) log.warn("leftovers can't be looked for", { detail: swept.error.message });
  for (const what of swept?.ok ? swept.value : []) log.info("leftover removed: it did not run", { what });
}
