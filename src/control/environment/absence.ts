import type { EnvironmentFacts } from "../../domain/rollout/facts.ts";
import { isOpen } from "../../domain/rollout/release.ts";
import type { Db } from "../store/db.ts";
import type { LoadedEnvironment } from "../store/environments.ts";
import { backSince, forgiveAbsence, isAnySilentSince } from "../store/upkeep/clock.ts";

/** A tick that is this late was missed: control was away, or its database was. */
const LATE_MS = 10_000;
/** For so long after its return nothing is judged before every agent has had its say; a dead one is not waited for longer. */
const HEARING_MS = 40_000;
const LOOK_MS = 1_000;

/** The last tick, and when the next one was to be. */
interface Ticked {
  readonly at: number;
  readonly due: number;
}

/**
 * Control's own absences, as one environment knows them. Agents go on meanwhile, and what they did is told after: so what
 * ran out is given that time again, and nothing is judged until they were heard.
 */
export class Absence {
  readonly #storage: DurableObjectStorage;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
  }

  /** Notes a tick that went through. `due` null: nothing is to happen, so nothing can be missed. */
  async ticked(now: number, due: number | null): Promise<void> {
    if (due !== null) await this.#storage.put<Ticked>("ticked", { at: now, due });
    else await this.#storage.delete("ticked");
  }

  /** After an absence gives its time again. True: it did, so everything is to be read anew. */
  async forgive(db: Db, { facts }: LoadedEnvironment, now: number): Promise<boolean> {
    const ticked = await this.#storage.get<Ticked>("ticked");
    if (!ticked || now - ticked.due < LATE_MS) return false;
    await forgiveAbsence(db, facts.id, now - ticked.at);
    await this.#storage.put("heardSince", now);
    await this.ticked(now, now);
    return true;
  }

  /** When to look again for agents that have not been heard since control is back; null: go on. */
  async waitsUntil(db: Db, { facts }: LoadedEnvironment, now: number): Promise<number | null> {
    const since = await this.#storage.get<number>("heardSince");
    if (since === undefined) return null;
    if (now - since < HEARING_MS && (await isAnySilentSince(db, concerned(facts), since)))
      return now + LOOK_MS;
    await this.#storage.delete("heardSince");
    return null;
  }
}

const concerned = ({ instances, workers = [], jobs, releases }: EnvironmentFacts): string[] => {
  if (!releases.some(({ state }) => isOpen(state))) return [];
  const open = jobs.filter(({ finishedAt, kind }) => finishedAt === null && kind !== "stop");
  return [...new Set([...instances, ...workers, ...open].map(({ hostId }) => hostId))];
};

/** The environment as it is to be judged: no host was silent for longer than control has been there to hear it. */
export function heardAsOf(loaded: LoadedEnvironment, now: number): LoadedEnvironment {
  const since = backSince(loaded.clock, now);
  const graced = (seenAt: number | null) => (seenAt === null ? null : Math.max(seenAt, since));
  const { facts } = loaded;
  return {
    ...loaded,
    facts: {
      ...facts,
      instances: facts.instances.map((one) => ({ ...one, hostSeenAt: graced(one.hostSeenAt) })),
      workers: (facts.workers ?? []).map((one) => ({ ...one, hostSeenAt: graced(one.hostSeenAt) })),
    },
  };
}
