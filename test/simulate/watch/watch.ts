import type { Decision } from "../../../src/domain/rollout/decision.ts";
import type { EnvironmentFacts } from "../../../src/domain/rollout/facts.ts";
import { isLeaving } from "../../../src/domain/rollout/placing/room.ts";
import { isActive, isAtRest } from "../../../src/domain/rollout/release.ts";
import type { PlanView } from "../../../src/protocol/api/plans.ts";
import type { Commit } from "../control/port.ts";
import type { Release } from "../control/store.ts";
import type { FaultKind } from "../faults.ts";
import type { World } from "../world.ts";
import { judgeMove } from "./moves.ts";
import { HEARING_MS, judgeVisit, type Tally, type Visit } from "./visits.ts";

export type ByAct = Readonly<Record<string, { readonly done: number; readonly refused: number }>>;

/** Beyond a deadline, for whoever is to notice it: control may be away itself. */
const NOTICED_MS = 35_000;
const SETTLES_MS = 180_000;
/** For its host's own word, and for one that waits behind another. */
const RUN_ENDS_MS = 10 * 60_000;
const GOES_BACK_MS = 25 * 60_000;

/** Looks at every move and every visit, and says what breaks an invariant. */
export class Watch implements Tally {
  /** Acts that were done, and faults among them. */
  acts = 0;
  lost = 0;
  /** What was done, by act: how often it was, and how often it was refused or had nothing to be done to. */
  readonly byAct: Record<string, { done: number; refused: number }> = {};
  answered = 0;
  readonly recent: Tally["recent"] = [];
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  count(act: string, isDone: boolean): void {
    this.byAct[act] ??= { done: 0, refused: 0 };
    this.byAct[act][isDone ? "done" : "refused"] += 1;
  }

  committed(commit: Commit): void {
    const { releases } = this.#world.control.store;
    const sum = releases.reduce((total, { weightBp }) => total + weightBp, 0);
    const servedBefore = commit.before.releases.some(({ weightBp }) => weightBp > 0);
    const mayBeNone = !servedBefore || this.#world.control.store.ending != null;
    if (sum !== 10_000 && (sum !== 0 || !mayBeNone)) this.#world.fault("weights do not sum", `to ${sum}`);
    const actives = releases.filter(({ state }) => isActive(state));
    if (actives.length > 1)
      this.#world.fault(
        "engine throws",
        `two on their way: ${actives.map(({ version }) => version).join(", ")}`,
      );
    if (!this.#world.control.store.ending) judgeMove(this.#world, commit);
    for (const [id, { weightBp }] of commit.decision.releases) if (weightBp === 10_000) this.#hasAll(id);
    this.#checkTakenBack(commit);
    if (movesTraffic(commit.decision)) this.#world.movedAt = this.#world.clock.now;
    this.#checkPlan(commit.decision);
    this.#checkDeadlines();
  }

  #hasAll(id: string): void {
    const { instances } = this.#world.control.store;
    const own = instances.filter(({ releaseId }) => releaseId === id);
    if (own.some((instance) => this.#world.ledger.wasReady(instance.id))) return;
    this.#world.fault("all traffic, never ready", `${this.#version(id)} with ${own.length} instances`);
  }

  /** After a switch, by what the edge counts: of what `watch` lets it, and never of what got its own traffic back. */
  #checkTakenBack({ before, decision }: Commit): void {
    for (const [id, { state, failure }] of decision.releases) {
      const release = before.releases.find((one) => one.id === id);
      const isTaken = state === "rolling_back" && failure?.code === "analysis_failed";
      if (isTaken && (release?.state === "settling" || release?.state === "live")) {
        const { version, kind, spec } = release;
        const why = this.#gaveAway.has(id) ? "got its own traffic back" : `is a ${kind}`;
        if (this.#gaveAway.has(id) || kind !== "deploy")
          this.#world.fault("taken back unasked", `${version} ${why}`);
        if (spec.watch !== "on")
          this.#world.fault("taken back unasked", `watch of ${version} is ${spec.watch}`);
      }
      if (state === "superseded" || state === "rolling_back") this.#gaveAway.add(id);
    }
  }
  readonly #gaveAway = new Set<string>();

  visited(visit: Visit): void {
    judgeVisit(this.#world, this, visit);
    this.#checkDeadlines();
  }

  /** A command came a second time, as a double click or a retry sends it; `moved`: that moved the traffic once more. */
  repeated(name: string, moved: boolean): void {
    if (moved) this.#world.fault("twice is not once", `${name}: the second one moved the traffic again`);
  }

  /** Nothing else moved between plan and deploy: what it said must be what happened. */
  planned(id: string, plan: PlanView, before: EnvironmentFacts): void {
    const isQuiet = before.releases.every(({ state }) => isAtRest(state)) && before.held === null;
    const release = this.#world.control.store.releases.find((one) => one.id === id);
    if (!isQuiet || !release) return;
    const problem = plan.problems[0];
    const failure = release.failure?.code ?? null;
    // For instances that stop, though they will not be enough; and for agents that control, back again, has not heard yet.
    const mayWait =
      before.instances.some(isLeaving) ||
      this.#world.clock.now - Math.max(this.#world.edgeSince, this.#world.jumpedAt) < HEARING_MS + NOTICED_MS;
    if (problem && release.state !== "failed" && !(release.state === "queued" && mayWait))
      this.#world.fault(
        "another plan",
        `it said ${problem.code}, but ${release.version} is ${release.state}`,
      );
    if (!problem && failure !== null)
      this.#world.fault(
        "another plan",
        `it said no problem, but ${release.version} ${release.state}: ${failure}`,
      );
    if (problem || release.state === "failed" || release.spec.strategy.kind === "rolling") return;
    // Where its slots are being freed, or are to be, it takes them in a while.
    const taken = new Set(before.instances.map(({ hostName, slot }) => `${hostName}/${slot}`));
    const waited =
      before.instances.some(isLeaving) ||
      plan.instances.some(({ host, slot }) => taken.has(`${host}/${slot}`));
    this.#plan = { id, plan, acts: this.acts, waited };
    this.#checkPlan(null);
  }
  #plan: {
    readonly id: string;
    readonly plan: PlanView;
    readonly acts: number;
    readonly waited: boolean;
  } | null = null;

  #checkPlan(decision: Decision | null): void {
    if (!this.#plan || (decision !== null && decision.newInstances.length === 0)) return;
    const { id, plan, acts, waited } = this.#plan;
    const made = this.#world.control.store.instances.filter(({ releaseId }) => releaseId === id);
    if (acts === this.acts && made.length === 0) return;
    this.#plan = null;
    if (acts !== this.acts) return;
    if (made.length !== plan.instances.length)
      this.#world.fault(
        "another plan",
        `it said ${plan.instances.length} instances, they are ${made.length}`,
      );
    // Which of those that are being stopped is gone first, nobody knows beforehand.
    if (waited) return;
    const are = made.map(({ hostName, slot }) => `${hostName}/${slot}`).join(" ");
    const said = plan.instances.map(({ host, slot }) => `${host}/${slot}`).join(" ");
    if (are !== said) this.#world.fault("another plan", `it said ${said}, it became ${are}`);
  }

  #checkDeadlines(): void {
    if (!this.#world.control.isUp) return;
    for (const release of this.#world.control.store.releases) {
      const late = isAtRest(release.state) && release.state !== "settling" ? null : this.#lateness(release);
      if (late) this.#world.fault(late.kind, `${release.version} is ${release.state}: ${late.text}`);
    }
  }

  #lateness(release: Release): { kind: FaultKind; text: string } | null {
    const { now } = this.#world.control;
    const since = now - release.stateSince;
    if (release.state === "settling") {
      const most = release.spec.drainMs + SETTLES_MS + this.outage();
      return since > most ? { kind: "never ends", text: `for ${seconds(since)}` } : null;
    }
    if (release.state === "rolling_back")
      return since > GOES_BACK_MS ? { kind: "never ends", text: `for ${seconds(since)}` } : null;
    if (release.deadlineAt === null) return { kind: "no deadline", text: "it may stay so for ever" };
    const late = now - release.deadlineAt;
    return late > NOTICED_MS + this.outage()
      ? { kind: "past its deadline", text: `by ${seconds(late)}` }
      : null;
  }

  /** How long control may have been away: nobody ends anything meanwhile. */
  outage = (): number => 90_000;

  isAllAtRest(): boolean {
    const { releases, instances, workers, ending } = this.#world.control.store;
    const isLeaving = workers.some(
      ({ stoppedAt, state }) => stoppedAt === null && (ending || state === "stopping"),
    );
    return (
      !isLeaving &&
      releases.every(({ state }) => isAtRest(state) && state !== "settling") &&
      instances.every(({ stoppedAt, state }) => stoppedAt !== null || state === "serving")
    );
  }

  /** After the longest that anything may take. */
  end(): void {
    const { releases, instances, workers, runs, ending } = this.#world.control.store;
    for (const { id, state, stoppedAt } of workers)
      if (stoppedAt === null && (ending || state === "stopping"))
        this.#world.fault("instance never leaves", `worker ${id} is ${state}`);
    for (const { id, state, createdAt, deadlineMs, endedAt } of runs)
      if (endedAt === null && this.#world.control.now - createdAt > deadlineMs + RUN_ENDS_MS)
        this.#world.fault("never ends", `run ${id} is ${state}`);
    for (const { state, version } of releases)
      if (!isAtRest(state) || state === "settling") this.#world.fault("never ends", `${version} is ${state}`);
    for (const { id, state, stoppedAt, hostName } of instances)
      if (stoppedAt === null && state !== "serving")
        this.#world.fault("instance never leaves", `${id} on ${hostName} is ${state}`);
  }

  #version = (id: string): string => this.#world.release(id).version;
}

/** Who gets traffic is another afterwards. */
const movesTraffic = ({ releases, instances }: Decision): boolean =>
  [...releases.values()].some(({ weightBp }) => weightBp !== undefined) ||
  [...instances.values()].some(({ state }) => state === "serving" || state === "draining");

const seconds = (ms: number): string => `${Math.round(ms / 1_000)} s`;
