import { done, type Outcome } from "../outcome.ts";
import type { ImageSource, PulledImage, Runtime } from "../runtime/runtime.ts";
import type { Images } from "./images.ts";

export interface PullContext {
  runtime: Runtime;
  images: Images;
  signal: AbortSignal;
  progress(message: string): void;
}

/** Has the image on this host, pinned. */
export async function pull(
  source: ImageSource & { environmentId: string },
  context: PullContext,
): Promise<Outcome<Omit<PulledImage, "downloaded">>> {
  const outcome = await pullOnce(source, context);
  if (!outcome.ok) return outcome;
  const { image, digest } = outcome.value;
  await context.images.pulled(source.environmentId, source.image, outcome.value);
  return done({ image, digest });
}

async function pullOnce(source: ImageSource, context: PullContext): Promise<Outcome<PulledImage>> {
  const { runtime, progress, signal, images } = context;
  const download = async () => {
    const outcome = await runtime.pull(source, progress, signal);
    if (outcome.ok || outcome.error.code !== "disk_full") return outcome;
    // Old images are what fills most disks: with some of them gone there may be room.
    return (await images.prune()) > 0 ? runtime.pull(source, progress, signal) : outcome;
  };
  for (;;) {
    const flight = singleFlight(source.image, download, runtime);
    const outcome = await flight.outcome;
    // The one who asked first may have run out of time, or have had the wrong login: that is no answer for the others.
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
