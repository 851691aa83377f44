import type { Clock } from "../clock.ts";
import type { ImageRecord, Journal } from "../journal.ts";
import type { Log } from "../log.ts";
import type { PulledImage, Runtime } from "../runtime/runtime.ts";
import { Signal } from "../signal.ts";
import type { Space } from "./disk.ts";

/** Images an environment keeps for its rollbacks: those it used last. */
const KEPT = { usually: 5, whenShort: 2 };
const DAY_MS = 86_400_000;
/** Below either of these the disk is short. */
const SHORT = { freeBytes: 2e9, freeShare: 0.1 };

export interface ImagesDeps {
  runtime: Runtime;
  journal: Journal;
  clock: Clock;
  log: Log;
}

/**
 * Knows which images this agent downloaded, and removes those that no rollback needs. What control would go back to it can't
 * know, so it keeps the newest few of each environment; an older one is downloaded again by its digest when it is started.
 */
export class Images {
  readonly #deps: ImagesDeps;
  readonly #wanted: Signal;

  constructor(deps: ImagesDeps) {
    this.#deps = deps;
    this.#wanted = new Signal(deps.clock);
  }

  /** Notes what a pull came to. An image that was here and isn't ours stays what it is. */
  async pulled(environmentId: string, asked: string, { image, downloaded }: PulledImage): Promise<void> {
    const { journal, clock } = this.#deps;
    const known = journal.state.images[image];
    if (!known && !downloaded) return;
    const record: ImageRecord = known ?? { tags: [], usedAt: {} };
    await journal.update(({ images }) => {
      images[image] = record;
      record.usedAt[environmentId] = clock.now();
      if (!asked.includes("@") && !record.tags.includes(asked)) record.tags.push(asked);
    });
  }

  async used(environmentId: string, image: string): Promise<void> {
    const { journal, clock } = this.#deps;
    const record = journal.state.images[image];
    if (!record) return;
    await journal.update(() => {
      record.usedAt[environmentId] = clock.now();
    });
  }

  /** Something was stopped: there may be images to remove. */
  tidySoon(): void {
    this.#wanted.raise();
  }

  /** Resolves when there may be something to tidy, or when `ms` have passed. */
  async untilWanted(signal: AbortSignal, ms: number): Promise<void> {
    await this.#wanted.wait(signal, ms);
  }

  /** Removes what can be spared; answers how many. */
  async prune(): Promise<number> {
    const { runtime, journal, clock, log } = this.#deps;
    if (!runtime.images) return 0;
    const space = await runtime.images.space();
    const inUse = new Set(Object.values(journal.state.instances).map(({ spec }) => spec.image));
    let count = 0;
    for (const image of spareImages(journal.state.images, { now: clock.now(), isShort: isShort(space) })) {
      const record = journal.state.images[image];
      if (!record || inUse.has(image)) continue;
      const removed = await runtime.images.remove(image, record.tags);
      if (!removed.ok) log.warn("an image can't be removed", { image, detail: removed.error.message });
      if (!removed.ok || removed.value === "used") continue;
      await journal.update(({ images }) => void delete images[image]);
      if (removed.value === "gone") continue;
      count += 1;
      log.info("image removed: nothing here runs it, and no rollback needs it", { image });
    }
    return count;
  }
}

const isShort = (space: Space | undefined): boolean =>
  space !== undefined &&
  (space.freeBytes < SHORT.freeBytes || space.freeBytes < space.totalBytes * SHORT.freeShare);

/** Images that are not among the newest of any environment and were not used within a day (unless the disk is short). */
export function spareImages(
  images: Readonly<Record<string, ImageRecord>>,
  { now, isShort }: { now: number; isShort: boolean },
): string[] {
  const kept = new Set<string>();
  const environments = new Set(Object.values(images).flatMap(({ usedAt }) => Object.keys(usedAt)));
  for (const environment of environments) {
    const own = Object.entries(images).filter(([, { usedAt }]) => usedAt[environment] !== undefined);
    own.sort(([, a], [, b]) => (b.usedAt[environment] ?? 0) - (a.usedAt[environment] ?? 0));
    for (const [image] of own.slice(0, isShort ? KEPT.whenShort : KEPT.usually)) kept.add(image);
  }
  const isOld = ({ usedAt }: ImageRecord) => now - Math.max(0, ...Object.values(usedAt)) > DAY_MS;
  return Object.entries(images)
    .filter(([image, record]) => !kept.has(image) && (isShort || isOld(record)))
    .map(([image]) => image);
}
