import type { InstanceSpec } from "../../src/protocol/agent/instance.ts";
import type { Clock } from "../clock.ts";
import { done, failed, type Outcome } from "../outcome.ts";
import type { Runtime } from "../runtime/runtime.ts";

const LOOK_MS = 500;

interface Needing {
  readonly spec: InstanceSpec;
  readonly runtime: Runtime;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly progress: (message: string) => void;
}

/**
 * Waits until the accessories that an instance needs are healthy, at most as long as its own startup may take. They share
 * its private network, so they are on this host. A host without containers has none, and waits for none.
 */
export async function awaitNeeds({
  spec,
  runtime,
  clock,
  signal,
  progress,
}: Needing): Promise<Outcome<void>> {
  const { accessories } = runtime;
  const deadline = clock.monotonic() + spec.health.startup.deadlineMs;
  for (const need of accessories ? (spec.needs ?? []) : []) {
    let lack = await accessories?.lackOf(need.accessory, signal);
    while (lack !== undefined) {
      progress(`waiting for ${need.name}, which ${lack}`);
      if (signal.aborted || clock.monotonic() >= deadline)
        return failed(
          "needs_unhealthy",
          `${spec.app} needs ${need.name}, which ${lack}: \`sluice accessory list\` shows it, \`sluice accessory start ${need.name}\` starts it`,
        );
      await clock.sleep(LOOK_MS, signal);
      lack = await accessories?.lackOf(need.accessory, signal);
    }
  }
  return done(undefined);
}
