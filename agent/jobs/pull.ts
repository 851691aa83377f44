import type { JobResult } from "../../src/protocol/agent.ts";
import type { Outcome } from "../outcome.ts";
import type { PulledImage } from "../runtime/runtime.ts";
import type { JobContext } from "./context.ts";

/** Has the image on this host, pinned. */
export async function pull(
  image: string,
  { runtime, progress, signal }: JobContext,
): Promise<Outcome<JobResult>> {
  for (;;) {
    const flight = singleFlight(image, () => runtime.pull(image, progress, signal), runtime);
    const outcome = await flight.outcome;
    // The one who asked first may have run out of time: that is no answer for the others.
    if (outcome.ok || signal.aborted || flight.isOwn) return outcome;
  }
}

const flights = new WeakMap<object, Map<string, Promise<Outcome<PulledImage>>>>();

/** Two environments may want the same image at the same moment: the engine is asked once. */
function singleFlight(image: string, start: () => Promise<Outcome<PulledImage>>, scope: object) {
  const inScope = flights.get(scope) ?? new Map<string, Promise<Outcome<PulledImage>>>();
  flights.set(scope, inScope);
  const others = inScope.get(image);
  const outcome = others ?? start().finally(() => inScope.delete(image));
  inScope.set(image, outcome);
  return { outcome, isOwn: !others };
}
