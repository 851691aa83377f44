import type { JobResult } from "../../src/protocol/agent/job-results.ts";
import { done, type Outcome } from "../outcome.ts";
import type { JobContext } from "./context.ts";

/**
 * Stops one instance: SIGTERM, grace, SIGKILL, remove. One that is gone already counts as stopped; the start of one that
 * is not ready yet is called off.
 */
export async function stop(
  { instance, graceMs }: { instance: string; graceMs: number },
  { runtime, instances, hooks, images, progress }: JobContext,
): Promise<Outcome<JobResult>> {
  if (await hooks.stop(instance, graceMs)) return done({});
  await instances.cancelStart(instance);
  await instances.release(instance);
  progress(`stopping, grace ${graceMs / 1000} s`);
  const stopped = await runtime.stop(instance, graceMs);
  if (!stopped.ok) return stopped;
  await instances.forget(instance);
  images.tidySoon();
  return stopped;
}
