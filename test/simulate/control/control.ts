import { HOST_OFFLINE_MS } from "../../../src/domain/host-online.ts";
import { workerOf } from "../../../src/domain/processes/process.ts";
import { advance } from "../../../src/domain/rollout/advance.ts";
import { isJudgedNow } from "../../../src/domain/rollout/analysis/judged.ts";
import { type Decision, hasChanges } from "../../../src/domain/rollout/decision.ts";
import type { EnvironmentFacts, InstanceFacts, LastRest } from "../../../src/domain/rollout/facts.ts";
import { probed } from "../../../src/domain/rollout/probed.ts";
import { isActive } from "../../../src/domain/rollout/release.ts";
import { compileTable, sameRouting } from "../../../src/domain/rollout/table/compile-table.ts";
import { lastRest, longestDrain } from "../../../src/domain/rollout/table/rest.ts";
import type { RoutingTable, TableAnswer } from "../../../src/domain/routing/table.ts";
import { DIGEST } from "../../domain/rollout/spec.ts";
import type { Watch } from "../watch/watch.ts";
import type { World } from "../world.ts";
import { Absence } from "./absence.ts";
import { JudgeDesk } from "./judge-desk.ts";
import type { Cause, ControlPort, Inventory, LeasedJob, Outcome, Report } from "./port.ts";
import { type Instance, type Job, Store } from "./store.ts";

/** As in coordinator.ts and jobs.ts of control. */
const TICK_MS = 20_000;
const JUDGE_TICK_MS = 2_000;
const LEASE_MS = 30_000;
const LEASES_PER_POLL = 10;
const HOOK_SLACK_MS = 30_000;
const SAFETY_MS = 2_000;
const SWEEP_MS = 60_000;
const MAX_PASSES = 100;
const ENDING_LOOK_MS = 5_000;
const RENEW_BEFORE_MS = 40_000;

interface Lease {
  readonly lease: string;
  readonly boot: string;
  readonly expiresAt: number;
}

/** Control over one environment: the coordinator's loop, jobs' leases and agents' reports, over rows in memory. */
export class Control implements ControlPort {
  readonly store = new Store();
  readonly judge: JudgeDesk;
  readonly #absence = new Absence(this.store);
  isUp = true;
  table: RoutingTable | undefined;
  #lastRest: LastRest | null = null;
  readonly #world: World;
  readonly #watch: Watch;
  readonly #leases = new Map<string, Lease>();
  readonly #asking = new Set<string>();
  readonly #reported = new Map<string, { readonly boot: string; readonly seq: number }>();
  #wakeups = new Set<string>();
  #skewMs = 0;
  /** The environment was destroyed, and nothing of it is left. */
  isGone = false;
  #alarm = 0;
  #isPoked = false;
  #leased = 0;

  readonly #asksAtOnce: boolean;

  /** `asksAtOnce`: what it asks beside its turn takes no time, as with the real one in virtual time. */
  constructor(world: World, watch: Watch, { asksAtOnce = false } = {}) {
    this.#world = world;
    this.#watch = watch;
    this.#asksAtOnce = asksAtOnce;
    this.store.spec = world.scenario.spec;
    this.store.now = world.clock.now;
    this.judge = new JudgeDesk();
    const sweep = () => {
      this.poke();
      world.clock.after(SWEEP_MS, sweep);
    };
    world.clock.after(SWEEP_MS, sweep);
  }

  get now(): number {
    return this.#world.clock.now + this.#skewMs;
  }
  jump(byMs: number): void {
    this.#skewMs += byMs;
    this.poke();
  }

  facts(): EnvironmentFacts {
    this.store.now = this.now;
    return this.store.facts();
  }

  // --- the loop ---------------------------------------------------------------------------------------------------------

  /** A tick soon. */
  poke(): void {
    if (this.#isPoked) return;
    this.#isPoked = true;
    this.#world.clock.after(10, () => {
      this.#isPoked = false;
      return this.advance();
    });
  }

  /** As the meter does where an edge was in a hurry. */
  judgeNow(): void {
    this.judge.hurry();
    this.poke();
  }

  #arm(at: number | null): void {
    const alarm = ++this.#alarm;
    if (at === null) return;
    this.#world.clock.at(at - this.#skewMs, () => {
      if (alarm === this.#alarm) return this.advance();
    });
  }

  /** Ticks until nothing is due. */
  async advance(): Promise<void> {
    if (this.isGone) return;
    if (!this.isUp) return this.#arm(this.now + SAFETY_MS);
    try {
      for (let pass = 0; pass < MAX_PASSES; pass++) {
        const wakeAt = await this.#tick();
        if (wakeAt === "again") continue;
        this.#absence.ticked(this.now, wakeAt);
        this.#world.noteShares();
        return this.#arm(wakeAt);
      }
      this.#world.fault("never at rest", `${MAX_PASSES} passes in one tick`);
    } catch (error) {
      this.#world.fault("engine throws", error instanceof Error ? error.message : String(error));
    }
    this.#arm(this.now + 10 * SAFETY_MS);
  }

  async #tick(): Promise<number | null | "again"> {
    if (this.#absence.forgive(this.now)) return "again";
    const loaded = this.facts();
    this.#publish(loaded);
    for (const host of this.#wakeups) this.#world.hostById(host)?.wake();
    this.#wakeups.clear();
    const { now } = this;
    const waitsUntil = this.#absence.waitsUntil(now);
    if (waitsUntil !== null) return waitsUntil;
    const analysis = await this.judge.judge(loaded, now);
    const facts = { ...loaded, analysis, lastRest: this.#lastRest };
    const decision = advance(facts, now);
    if (hasChanges(decision)) {
      this.commit(facts, decision, { who: "control", what: "tick" });
      return "again";
    }
    for (const instance of decision.probes) this.#probe(instance);
    for (const { release, when } of decision.smokes) this.#smoke(release.id, when);
    if (facts.ending) return this.#end(facts, decision.wakeAt);
    const busy = facts.releases.some(({ state }) => isActive(state));
    return earliest(decision.wakeAt, isJudgedNow(facts) ? now + JUDGE_TICK_MS : busy ? now + TICK_MS : null);
  }

  /** As `endEnvironment` of control's ending.ts. */
  #end(facts: EnvironmentFacts, wakeAt: number | null): number | null {
    const { instances, workers = [], runs = [], jobs } = facts;
    const isHook = jobs.some(({ kind, finishedAt }) => kind === "run" && finishedAt === null);
    this.isGone = instances.length + workers.length + runs.length === 0 && !isHook;
    return this.isGone ? null : earliest(wakeAt, this.now + ENDING_LOOK_MS);
  }

  commit(facts: EnvironmentFacts, decision: Decision, cause: Cause): void {
    this.store.now = this.now;
    this.store.apply(decision);
    for (const { hostId } of decision.jobs) this.#wakeups.add(hostId);
    for (const event of decision.events) this.#world.say("control", () => event.message);
    this.#watch.committed({ before: facts, decision, cause });
  }

  /** The version only rises. */
  #publish(facts: EnvironmentFacts): void {
    const old = this.table;
    const loaded = { facts, salt: this.store.salt, previewKey: "00", mode: { kind: "open" } } as const;
    const table = compileTable(loaded, { version: (old?.version ?? 0) + 1, now: this.now });
    const renew = old?.partialUntil != null && old.partialUntil - this.now < RENEW_BEFORE_MS;
    if (old !== undefined && sameRouting(old, table) && !renew) return;
    this.#lastRest = lastRest(old, table, this.#lastRest, { now: this.now, drainMs: longestDrain(facts) });
    this.table = table;
  }

  // --- questions asked beside the turn ----------------------------------------------------------------------------------

  #probe({ id, origin }: InstanceFacts): void {
    this.#beside(id, this.#world.isReachable(id) ? 60 : 900, () => {
      const row = this.store.instances.find((instance) => instance.id === id);
      if (!row || row.stoppedAt !== null) return false;
      const cause = this.#world.isReachable(id) ? null : `GET ${origin}/ready answered 530`;
      const change = probed(row, cause, this.now);
      if (change) Object.assign(row, change);
      return change !== undefined;
    });
  }

  /** Every instance is asked that answered once: one that does not any more fails the check, too. */
  #smoke(releaseId: string, when: "before" | "after"): void {
    this.#beside(`${releaseId}/${when}`, 300, () => {
      const row = this.store.releaseById(releaseId);
      const asked = this.store.instances.filter(
        (one) => one.releaseId === releaseId && one.verifiedAt !== null && isUp(one),
      );
      const isBad = this.#world.appOf(releaseId).smoke === `bad ${when}`;
      const fails = isBad || asked.some(({ id }) => !this.#world.isReachable(id));
      const failure = fails
        ? { code: "smoke_failed", message: `smoke check ${when} failed`, logs: [] }
        : null;
      row.smoke = { ...row.smoke, [when]: { at: this.now, failure } };
      return true;
    });
  }

  /** `write` answers whether it changed anything: else the next tick comes by itself. */
  #beside(key: string, ms: number, write: () => boolean): void {
    if (this.#asking.has(key)) return;
    this.#asking.add(key);
    this.#world.clock.after(this.#asksAtOnce ? 0 : ms, () => {
      this.#asking.delete(key);
      if (!this.isUp || !write()) return;
      this.store.rev += 1;
      return this.advance();
    });
  }

  // --- what agents call -------------------------------------------------------------------------------------------------

  /** Null: unreachable, or not this host any more. */
  poll(hostId: string, boot: string, inventory: Inventory): LeasedJob[] | null {
    const host = this.store.hosts.find(({ id }) => id === hostId);
    if (!this.isUp || !host) return null;
    const { now } = this;
    const seenBeforeAt = host.lastSeenAt ?? 0;
    host.lastSeenAt = now;
    if (now - seenBeforeAt >= HOST_OFFLINE_MS) this.poke();
    this.#reconcile(hostId, boot, inventory);
    const open = this.store.jobs.filter((job) => job.hostId === hostId && job.finishedAt === null);
    // One that ran out while its agent could not say how it ended is asked for first.
    const overdue = open.filter((job) => endsAt(job) <= Math.min(now, seenBeforeAt));
    for (const job of overdue) Object.assign(job, { state: "failed", error: OVERDUE, finishedAt: now });
    if (overdue.length > 0) this.poke();
    return open
      .filter(({ deadlineAt }) => deadlineAt > now)
      .filter((job) => job.finishedAt === null && this.#isLeasable(job, boot, inventory))
      .sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1))
      .slice(0, LEASES_PER_POLL)
      .map((job) => this.#lease(job, boot));
  }

  #isLeasable({ id, state }: Job, boot: string, { jobs }: Inventory): boolean {
    const held = this.#leases.get(id);
    const isNew = state === "queued" || !held || held.boot !== boot;
    return isNew || held.expiresAt <= this.now || !jobs.includes(id);
  }

  #lease(job: Job, boot: string): LeasedJob {
    const lease = `lease-${++this.#leased}`;
    job.state = "leased";
    // Renewals are left out: a lease lasts as long as its job may.
    const expiresAt = this.now + (LONG.includes(job.kind) ? 4 * LEASE_MS : LEASE_MS);
    this.#leases.set(job.id, { lease, boot, expiresAt });
    const { id, kind, releaseId, instanceId, deadlineAt } = job;
    const slotId = this.store.instances.find((one) => one.id === instanceId)?.slotId ?? null;
    const run = kind === "command" ? String(job.payload.run) : null;
    return { id, kind, releaseId, instanceId, slotId, worker: this.#workerOf(job), run, lease, deadlineAt };
  }

  #workerOf({ instanceId, releaseId }: Job): LeasedJob["worker"] {
    const process = this.store.workers.find(({ id }) => id === instanceId)?.process;
    if (process === undefined) return null;
    const spec = workerOf(this.store.releaseById(releaseId).spec, process);
    return { process, isAlone: spec?.handover === "stop-first" && spec.replicas === 1 };
  }

  done(jobId: string, lease: string, outcome: Outcome): "done" | "lease lost" | "unreachable" {
    if (!this.isUp) return "unreachable";
    const job = this.store.jobs.find(({ id }) => id === jobId);
    if (!job || this.#leases.get(jobId)?.lease !== lease) return "lease lost";
    if (job.finishedAt !== null) return "done";
    const isDone = "ok" in outcome;
    job.state = isDone ? "done" : "failed";
    job.error = isDone ? null : outcome.error;
    job.result = isDone ? { digest: DIGEST } : null;
    job.finishedAt = this.now;
    this.store.rev += 1;
    this.poke();
    return "done";
  }

  /** True: taken, or known already. */
  report(hostId: string, boot: string, instance: string, report: Report): boolean {
    if (!this.isUp || !this.store.hosts.some(({ id }) => id === hostId)) return false;
    const row = this.#rows().find(({ id }) => id === instance);
    if (row && this.#isNews(instance, boot, report.seq)) this.#write(row, boot, report);
    return true;
  }

  /** Instances and workers are rows of one table. */
  #rows = (): Row[] => [...this.store.instances, ...this.store.workers];

  #isNews(instance: string, boot: string, seq: number): boolean {
    const last = this.#reported.get(instance);
    return last?.boot !== boot || last.seq < seq;
  }

  /** As `columnsOf` of store/reports.ts: since when it is ready, or is not. */
  #write(row: Row, boot: string, report: Report): void {
    this.#reported.set(row.id, { boot, seq: report.seq });
    const changed = row.reportState !== report.state || row.exits.length !== report.exits.length;
    const turned = (row.reportState === "ready") !== (report.state === "ready") || row.reportAt === null;
    Object.assign(row, {
      reportState: report.state,
      reportCause: report.cause,
      reportAt: turned ? this.now : row.reportAt,
      exits: report.exits.map((at) => Math.min(this.now, at + this.#skewMs)),
    });
    if (changed) this.poke();
  }

  /** As `reconcile` of store/reports.ts: what a poll lists is held against what is written. */
  #reconcile(hostId: string, boot: string, { seq, instances }: Inventory): void {
    for (const row of this.#rows()) {
      if (row.hostId !== hostId || row.stoppedAt !== null) continue;
      const listed = instances.get(row.id);
      if (listed) {
        const isTold = row.reportState !== null || listed.state !== "starting";
        if (isTold && this.#isNews(row.id, boot, listed.seq)) this.#write(row, boot, listed);
        continue;
      }
      const last = this.#reported.get(row.id);
      const isSure = last !== undefined && (last.boot !== boot || last.seq <= seq);
      if (!isSure || row.reportState === "gone" || !LISTED.includes(row.state)) continue;
      this.#write(row, boot, {
        seq,
        state: "gone",
        cause: "it is not on its host any more",
        exits: row.exits,
      });
    }
  }

  addHost(name: string, slots: number): void {
    this.store.now = this.now;
    this.store.addHost(name, slots);
  }

  /** As `endOnHost` of store/hosts.ts: what ran there is gone, and what was to be done there has failed. */
  removeHost(id: string): void {
    const { store, now } = this;
    const stopped = { state: "stopped", stateSince: now, stoppedAt: now } as const;
    store.hosts = store.hosts.filter((host) => host.id !== id);
    for (const one of this.#rows())
      if (one.hostId === id && one.stoppedAt === null) Object.assign(one, stopped);
    for (const job of store.jobs) {
      if (job.hostId !== id || job.finishedAt !== null) continue;
      const isNobodys = job.kind === "stop" || (job.kind === "command" && job.state === "queued");
      const state = isNobodys ? "cancelled" : "failed";
      Object.assign(job, { state, error: REMOVED, finishedAt: now });
    }
    store.rev += 1;
    this.poke();
  }

  // --- what edges call --------------------------------------------------------------------------------------------------

  tableFor(known: number | null): TableAnswer {
    if (!this.isUp) throw new Error("control is away");
    const { table } = this;
    // Hostnames of one that is destroyed lead nowhere.
    if (!table || this.store.ending) return { kind: "unknown" };
    return table.version === known ? { kind: "unchanged", version: known } : { kind: "table", table };
  }
}

type Row = Instance | Store["workers"][number];

const isUp = ({ stoppedAt, state }: Instance): boolean => stoppedAt === null && state !== "stopping";

const LONG: readonly Job["kind"][] = ["start", "run", "command"];
const LISTED: readonly string[] = ["ready", "serving", "draining", "warm"];

/** As in store/jobs.ts: an agent that has a hook says how it ended. */
const endsAt = ({ kind, state, deadlineAt }: Job): number =>
  (kind === "run" || kind === "command") && state === "leased" ? deadlineAt + HOOK_SLACK_MS : deadlineAt;

const REMOVED = { code: "host_removed", message: "the host was removed", logs: [] };
const OVERDUE = { code: "deadline", message: "the job was not done before its deadline", logs: [] };

const earliest = (a: number | null, b: number | null): number | null =>
  a === null || b === null ? (a ?? b) : Math.min(a, b);
