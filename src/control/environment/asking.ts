import type { SmokeOrder } from "../../domain/rollout/decision.ts";
import type { Draft } from "../../domain/rollout/draft.ts";
import type { EnvironmentFacts, InstanceFacts } from "../../domain/rollout/facts.ts";
import { probed } from "../../domain/rollout/probed.ts";
import type { ReleaseFacts } from "../../domain/rollout/release.ts";
import { isLookedAt } from "../../domain/rollout/smoke.ts";
import { AT_ONCE, atMost, Gate } from "../at-most.ts";
import { lookAt, lookFailure } from "./front-page.ts";
import { inRounds } from "./in-rounds.ts";
import { type ProbeOutcome, probeInstance } from "./probe.ts";
import type { Path } from "./reach.ts";
import { runSmoke } from "./smoke.ts";

/** Answers that came by then are written, though some of the round are still waited for. */
const ROUND_MS = 1_000;

interface Parts {
  readonly path: Path;
  readonly now: () => number;
  /** Drafts a decision from the newest facts, writes it, and goes on from there. */
  readonly write: (change: (draft: Draft) => void) => Promise<void>;
  /** Keeps the object alive for it, and logs what fails. */
  readonly background: (work: Promise<void>) => void;
}

interface Answer {
  readonly instance: string;
  readonly cause: string | null;
  readonly at: number;
}

/**
 * Asks instances beside the turn, so that a rollback never waits behind an answer that does not come: whether they answer on
 * their real path, and their smoke checks. Nothing is asked twice at once, and the answers of a round are one decision.
 */
export class Asking {
  readonly #parts: Parts;
  readonly #asked = new Set<string>();
  /** Probes, smoke checks and a rollback's questions are one object's: what the runtime queues waits with its own timer running. */
  readonly gate = new Gate();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Asks each instance that isn't being asked already. */
  probe(facts: EnvironmentFacts, instances: readonly InstanceFacts[]): void {
    const wanted = [...new Map(instances.map((instance) => [instance.id, instance])).values()];
    const fresh = wanted.filter(({ id }) => !this.#asked.has(id));
    if (fresh.length === 0) return;
    for (const { id } of fresh) this.#asked.add(id);
    this.#parts.background(
      this.#round(facts, fresh).finally(() => {
        for (const { id } of fresh) this.#asked.delete(id);
      }),
    );
  }

  async #round(facts: EnvironmentFacts, instances: readonly InstanceFacts[]): Promise<void> {
    const { path, now } = this.#parts;
    const hand = (answers: readonly Answer[]) => this.#writeAnswers(answers);
    await inRounds<Answer>(ROUND_MS, hand, (tell) =>
      atMost(AT_ONCE, instances, async (instance) => {
        const release = facts.releases.find(({ id }) => id === instance.releaseId);
        if (!release) return;
        const { cause } = await this.gate.through(() => probeInstance(instance, release, path));
        if (probed(instance, cause, now())) tell({ instance: instance.id, cause, at: now() });
        else this.#asked.delete(instance.id);
      }),
    );
  }

  async #writeAnswers(answers: readonly Answer[]): Promise<void> {
    await this.#parts.write((draft) => {
      for (const { instance: id, cause, at } of answers) {
        const instance = draft.facts.instances.find((candidate) => candidate.id === id);
        const change = instance && probed(instance, cause, at);
        if (change) draft.changeInstance(instance, change);
      }
    });
    for (const { instance } of answers) this.#asked.delete(instance);
  }

  /** What each instance of a release answers right now: a person waits for it. */
  ask(release: ReleaseFacts, instances: readonly InstanceFacts[]): Promise<ProbeOutcome[]> {
    return atMost(AT_ONCE, instances, (instance) =>
      this.gate.through(() => probeInstance(instance, release, this.#parts.path), { first: true }),
    );
  }

  /** Runs a release's smoke checks, unless they run already. */
  smoke(facts: EnvironmentFacts, { release, when }: SmokeOrder): void {
    const key = `${release.id}/${when}`;
    if (this.#asked.has(key)) return;
    this.#asked.add(key);
    this.#parts.background(this.#check(facts, { release, when }).finally(() => this.#asked.delete(key)));
  }

  async #check(facts: EnvironmentFacts, { release, when }: SmokeOrder): Promise<void> {
    const { path, now, write } = this.#parts;
    const instances = facts.instances.filter(
      ({ releaseId, state, verifiedAt }) =>
        releaseId === release.id && state !== "stopping" && verifiedAt !== null,
    );
    const [first] = instances;
    const [failure, look] = await Promise.all([
      runSmoke(release, instances, { by: path, gate: this.gate, when }),
      first && isLookedAt(release, when) ? this.gate.through(() => lookAt(release, first, path)) : [],
    ]);
    const found = failure ?? (first ? lookFailure(release, first, look) : null);
    await write((draft) => {
      const smoke = draft.release(release.id)?.smoke;
      draft.changeRelease(release.id, { smoke: { ...smoke, [when]: { at: now(), failure: found, look } } });
      for (const sight of look) {
        const message = `${release.version}, as a visitor would see it: ${sight.detail}. ${sight.fix}`;
        draft.event("release.progress", release.id, message, { look: sight });
      }
    });
  }
}
