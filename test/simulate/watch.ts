import type { Decision } from "../../src/domain/rollout/decision.ts";
import type { EnvironmentFacts } from "../../src/domain/rollout/facts.ts";
import { isLeaving } from "../../src/domain/rollout/placing/room.ts";
import { isActive, isAtRest } from "../../src/domain/rollout/release.ts";
import type { PlanView } from "../../src/protocol/api/plans.ts";
import type { Container } from "./container.ts";
import type { Cause } from "./control.ts";
import { judgeMove } from "./moves.ts";
import type { Release } from "./store.ts";
import type { Visit } from "./visitors.ts";
import { HEARING_MS, judgeVisit } from "./visits.ts";
import type { World } from "./world.ts";

/** What must never be, by the invariant it breaks (docs/simulation.md). */
export const FAULTS = {
  "weights do not sum": 1,
  "lost beside siblings": 2,
  "lost beside another release": 2,
  "lost beside a warm release": 2,
  "going back lost answers": 3,
  "a move lost answers": 3,
  "rolled below its floor": 3,
  "past its deadline": 4,
  "no deadline": 4,
  "never ends": 4,
  "instance never leaves": 4,
  "two in a slot": 5,
  "started twice": 6,
  "hook twice": 6,
  "command twice": 6,
  "two beside each other": 6,
  "two hooks at once": 6,
  "all traffic, never ready": 7,
  "another plan": 8,
  "twice is not once": 8,
  "taken back unasked": 9,
  "engine throws": 0,
  "edge throws": 0,
  "never at rest": 0,
} as const;
export type FaultKind = keyof typeof FAULTS;

export interface Fault {
  readonly kind: FaultKind;
  /** ms since the beginning. */
  readonly at: number;
  readonly text: string;
}

export type ByAct = Readonly<Record<string, { readonly done: number; readonly refused: number }>>;

export interface Commit {
  readonly before: EnvironmentFacts;
  readonly decision: Decision;
  readonly cause: Cause;
}

/** Beyond a deadline, for whoever is to notice it: control may be away itself. */
const NOTICED_MS = 35_000;
const SETTLES_MS = 180_000;
/** For its host's own word, and for one that waits behind another. */
const RUN_ENDS_MS = 10 * 60_000;
const RUNS: readonly Container["state"][] = ["booting", "ready"];
const GOES_BACK_MS = 25 * 60_000;

/** Looks at every move and every visit, and keeps what breaks an invariant: the first of each kind. */
export class Watch {
  readonly faults = new Map<FaultKind, Fault>();
  /** Acts that were done, and faults among them. */
  acts = 0;
  /** Epoch ms of the last commit that changed who has traffic. */
  movedAt = 0;
  /** Epoch ms of the last time control's clock was set on: it takes that for an absence of its own. */
  jumpedAt = 0;
  lost = 0;
  /** What was done, by act: how often it was, and how often it was refused or had nothing to be done to. */
  readonly byAct: Record<string, { done: number; refused: number }> = {};
  lostMessages = 0;
  doubledMessages = 0;
  /** By an instance. */
  answered = 0;
  /** The visits of the last minute, oldest first. */
  readonly recent: { readonly at: number; readonly isLost: boolean }[] = [];
  readonly #world: World;
  readonly #began: number;
  readonly #started = new Set<string>();
  readonly #hooks = new Set<string>();
  readonly #commands = new Set<string>();
  readonly #running = new Set<string>();

  constructor(world: World) {
    this.#world = world;
    this.#began = world.clock.now;
  }

  count(act: string, isDone: boolean): void {
    this.byAct[act] ??= { done: 0, refused: 0 };
    this.byAct[act][isDone ? "done" : "refused"] += 1;
  }

  fault(kind: FaultKind, text: string): void {
    if (this.faults.has(kind)) return;
    this.faults.set(kind, { kind, at: this.#world.clock.now - this.#began, text });
    this.#world.say("FAULT", () => `${kind}: ${text}`);
  }

  committed(commit: Commit): void {
    const { releases } = this.#world.control.store;
    const sum = releases.reduce((total, { weightBp }) => total + weightBp, 0);
    const servedBefore = commit.before.releases.some(({ weightBp }) => weightBp > 0);
    const mayBeNone = !servedBefore || this.#world.control.store.ending != null;
    if (sum !== 10_000 && (sum !== 0 || !mayBeNone)) this.fault("weights do not sum", `to ${sum}`);
    const actives = releases.filter(({ state }) => isActive(state));
    if (actives.length > 1)
      this.fault("engine throws", `two on their way: ${actives.map(({ version }) => version).join(", ")}`);
    if (!this.#world.control.store.ending) judgeMove(this.#world, commit);
    for (const [id, { weightBp }] of commit.decision.releases) if (weightBp === 10_000) this.#hasAll(id);
    this.#checkTakenBack(commit);
    if (movesTraffic(commit.decision)) this.movedAt = this.#world.clock.now;
    this.#checkPlan(commit.decision);
    this.#checkDeadlines();
  }

  #hasAll(id: string): void {
    const { instances } = this.#world.control.store;
    const own = instances.filter(({ releaseId }) => releaseId === id);
    if (own.some((instance) => this.#wereReady.has(instance.id))) return;
    this.fault("all traffic, never ready", `${this.#version(id)} with ${own.length} instances`);
  }
  readonly #wereReady = new Set<string>();
  becameReady(instance: string): void {
    this.#wereReady.add(instance);
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
          this.fault("taken back unasked", `${version} ${why}`);
        if (spec.watch !== "on") this.fault("taken back unasked", `watch of ${version} is ${spec.watch}`);
      }
      if (state === "superseded" || state === "rolling_back") this.#gaveAway.add(id);
    }
  }
  readonly #gaveAway = new Set<string>();

  visited(visit: Visit): void {
    judgeVisit(this.#world, visit);
    this.#checkDeadlines();
  }

  started(instance: string): void {
    if (this.#started.has(instance)) this.fault("started twice", instance);
    this.#started.add(instance);
  }
  /** Nothing is left of it to run beside another start. */
  removed(instance: string): void {
    this.#started.delete(instance);
  }

  /** A worker that must not run beside another one of its process. */
  runsAlone(one: Container): void {
    // A machine that was removed is gone, with what ran on it.
    const there = this.#world.hosts.filter(({ isRemoved }) => !isRemoved);
    const others = there.flatMap(({ containers }) => [...containers.values()]);
    if (!others.includes(one) && this.#world.container(one.id)) return;
    // Who scaled it up meant it to have siblings of its own release from then on.
    const isSibling = (other: Container) => other.releaseId === one.releaseId && !other.worker?.isAlone;
    const beside = others.find(
      (other) =>
        other !== one &&
        other.worker?.process === one.worker?.process &&
        RUNS.includes(other.state) &&
        !isSibling(other),
    );
    if (beside) this.fault("two beside each other", `${one.id} begins while ${beside.id} runs`);
  }

  commandBegins(run: string): void {
    if (this.#commands.has(run)) this.fault("command twice", run);
    this.#commands.add(run);
  }

  hookBegins(job: string): void {
    if (this.#hooks.has(job)) this.fault("hook twice", job);
    const [other] = this.#running;
    if (other) this.fault("two hooks at once", `${job} begins while ${other} runs`);
    this.#hooks.add(job);
    this.#running.add(job);
  }
  hookEnds(job: string): void {
    this.#running.delete(job);
  }

  /** A command came a second time, as a double click or a retry sends it; `moved`: that moved the traffic once more. */
  repeated(name: string, moved: boolean): void {
    if (moved) this.fault("twice is not once", `${name}: the second one moved the traffic again`);
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
      this.#world.clock.now - Math.max(this.#world.edgeSince, this.jumpedAt) < HEARING_MS + NOTICED_MS;
    if (problem && release.state !== "failed" && !(release.state === "queued" && mayWait))
      this.fault("another plan", `it said ${problem.code}, but ${release.version} is ${release.state}`);
    if (!problem && failure !== null)
      this.fault("another plan", `it said no problem, but ${release.version} ${release.state}: ${failure}`);
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
      this.fault("another plan", `it said ${plan.instances.length} instances, they are ${made.length}`);
    // Which of those that are being stopped is gone first, nobody knows beforehand.
    if (waited) return;
    const are = made.map(({ hostName, slot }) => `${hostName}/${slot}`).join(" ");
    const said = plan.instances.map(({ host, slot }) => `${host}/${slot}`).join(" ");
    if (are !== said) this.fault("another plan", `it said ${said}, it became ${are}`);
  }

  #checkDeadlines(): void {
    if (!this.#world.control.isUp) return;
    for (const release of this.#world.control.store.releases) {
      const late = isAtRest(release.state) && release.state !== "settling" ? null : this.#lateness(release);
      if (late) this.fault(late.kind, `${release.version} is ${release.state}: ${late.text}`);
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
        this.fault("instance never leaves", `worker ${id} is ${state}`);
    for (const { id, state, createdAt, deadlineMs, endedAt } of runs)
      if (endedAt === null && this.#world.control.now - createdAt > deadlineMs + RUN_ENDS_MS)
        this.fault("never ends", `run ${id} is ${state}`);
    for (const { state, version } of releases)
      if (!isAtRest(state) || state === "settling") this.fault("never ends", `${version} is ${state}`);
    for (const { id, state, stoppedAt, hostName } of instances)
      if (stoppedAt === null && state !== "serving")
        this.fault("instance never leaves", `${id} on ${hostName} is ${state}`);
  }

  #version = (id: string): string => this.#world.release(id).version;
}

/** Who gets traffic is another afterwards. */
const movesTraffic = ({ releases, instances }: Decision): boolean =>
  [...releases.values()].some(({ weightBp }) => weightBp !== undefined) ||
  [...instances.values()].some(({ state }) => state === "serving" || state === "draining");

const seconds = (ms: number): string => `${Math.round(ms / 1_000)} s`;
