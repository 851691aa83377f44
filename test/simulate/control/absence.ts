import { isOpen } from "../../../src/domain/rollout/release.ts";
import type { Store } from "./store.ts";

/** As in absence.ts of control. */
const LATE_MS = 10_000;
const HEARING_MS = 40_000;
const LOOK_MS = 1_000;

/** Control's own absences, as `Absence` of the coordinator has them: their time is given again, and agents are heard first. */
export class Absence {
  readonly #store: Store;
  #ticked: { readonly at: number; readonly due: number } | null = null;
  #heardSince: number | null = null;

  constructor(store: Store) {
    this.#store = store;
  }

  ticked(now: number, due: number | null): void {
    this.#ticked = due === null ? null : { at: now, due };
  }

  /** True: control was away, and what ran out meanwhile has its time again. */
  forgive(now: number): boolean {
    const ticked = this.#ticked;
    if (!ticked || now - ticked.due < LATE_MS) return false;
    this.#giveAgain(now - ticked.at);
    this.#heardSince = now;
    this.ticked(now, now);
    return true;
  }

  #giveAgain(gapMs: number): void {
    const { releases, jobs } = this.#store;
    const instances = [...this.#store.instances, ...this.#store.workers];
    this.#store.rev += 1;
    for (const release of releases)
      if (release.endedAt === null && release.deadlineAt !== null) release.deadlineAt += gapMs;
    for (const one of instances)
      if (one.stoppedAt === null && ["starting", "ready"].includes(one.state)) one.stateSince += gapMs;
    for (const job of jobs) if (job.finishedAt === null) job.deadlineAt += gapMs;
  }

  /** When to look again for agents that have not been heard since control is back; null: go on. */
  waitsUntil(now: number): number | null {
    const since = this.#heardSince;
    if (since === null) return null;
    if (now - since < HEARING_MS && this.#isAnySilentSince(since)) return now + LOOK_MS;
    this.#heardSince = null;
    return null;
  }

  #isAnySilentSince(since: number): boolean {
    const { releases, jobs, hosts } = this.#store;
    const instances = [...this.#store.instances, ...this.#store.workers];
    if (!releases.some(({ state }) => isOpen(state))) return false;
    const live = instances.filter(({ stoppedAt }) => stoppedAt === null);
    const open = jobs.filter(({ finishedAt, kind }) => finishedAt === null && kind !== "stop");
    const concerned = new Set([...live, ...open].map(({ hostId }) => hostId));
    return hosts.some(({ id, lastSeenAt }) => concerned.has(id) && (lastSeenAt ?? 0) < since);
  }
}
