import type { Sight } from "../../domain/doctor/front-page.ts";
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
/** A Worker on the Free plan may make 50 fetches in one invocation; probes and a look have theirs. */
const MOST_CHECKS = 20;

interface Parts {
  readonly path: Path;
  readonly now: () => number;
  /** Drafts a decision from the newest facts, writes it, and goes on from there. */
  readonly write: (change: (draft: Draft) => void) => Promise<void>;
  /** Keeps the object alive for it, and logs what fails. */
  readonly background: (work: Promise<void>) => void;
  /** Has the next tick come at once, as an invocation of its own. */
  readonly again: () => Promise<void>;
}

/** Smoke checks that one invocation did not bring to an end. */
interface Begun {
  readonly passed: Set<string>;
  look?: readonly Sight[];
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
  /** By release and time; lost with the object they begin anew. */
  readonly #begun = new Map<string, Begun>();
  /** Smoke checks that this invocation may still make. */
  #left = MOST_CHECKS;
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

  /** The object's alarm rings, or it is poked: another invocation. */
  renew(): void {
    this.#left = MOST_CHECKS;
  }

  /** Runs a release's smoke checks, unless they run already. */
  smoke(facts: EnvironmentFacts, { release, when }: SmokeOrder): void {
    const key = keyOf({ release, when });
    if (this.#asked.has(key)) return;
    if (this.#left === 0) return this.#parts.background(this.#parts.again());
    this.#asked.add(key);
    this.#parts.background(this.#check(facts, { release, when }).finally(() => this.#asked.delete(key)));
  }

  async #check(facts: EnvironmentFacts, { release, when }: SmokeOrder): Promise<void> {
    const { path, now, write, again } = this.#parts;
    const instances = facts.instances.filter(
      ({ releaseId, state, verifiedAt }) =>
        releaseId === release.id && state !== "stopping" && verifiedAt !== null,
    );
    const [first] = instances;
    const key = keyOf({ release, when });
    const begun: Begun = this.#begun.get(key) ?? { passed: new Set() };
    this.#begun.set(key, begun);
    const { passed } = begun;
    const look = async () =>
      first && isLookedAt(release, when) ? this.gate.through(() => lookAt(release, first, path)) : [];
    const most = this.#left;
    this.#left = Math.max(0, most - (release.spec.smoke.length * instances.length - passed.size));
    const [{ failure, isOver }, sights] = await Promise.all([
      runSmoke(release, instances, { by: path, gate: this.gate, when, passed, most }),
      begun.look ?? look(),
    ]);
    begun.look = sights;
    if (!isOver) return again();
    this.#begun.delete(key);
    const found = failure ?? (first ? lookFailure(release, first, sights) : null);
    await write((draft) => {
      const smoke = draft.release(release.id)?.smoke;
      draft.changeRelease(release.id, {
        smoke: { ...smoke, [when]: { at: now(), failure: found, look: sights } },
      });
      for (const sight of sights) {
        const message = `${release.version}, as a visitor would see it: ${sight.detail}. ${sight.fix}`;
        draft.event("release.progress", release.id, message, { look: sight });
      }
    });
  }
}

const keyOf = ({ release, when }: SmokeOrder): string => `${release.id}/${when}`;
