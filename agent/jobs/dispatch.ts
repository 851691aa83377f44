import { type JobResult, jobProgressAnswerSchema } from "../../src/protocol/agent/job-results.ts";
import type { Job as AnyJob } from "../../src/protocol/agent/jobs.ts";
import { type Clock, outagePause } from "../clock.ts";
import type { Control } from "../control/control.ts";
import type { Images } from "../host/images.ts";
import { pull } from "../host/pull.ts";
import type { Instances } from "../instances/instances.ts";
import type { Journal } from "../journal.ts";
import type { Log } from "../log.ts";
import { failed, type Outcome, words } from "../outcome.ts";
import type { Policy } from "../policy/policy.ts";
import { redactOutcome } from "../redaction/redact-outcome.ts";
import { scopeOfJob, valuesOf } from "../redaction/scope.ts";
import type { Secrets } from "../redaction/secrets.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Signatures } from "../verify/signatures.ts";
import { accessory } from "./accessory.ts";
import { AGENT_STOPS, type JobContext } from "./context.ts";
import type { Hooks } from "./hooks.ts";
import { deliverResult } from "./results.ts";
import { run } from "./run.ts";
import { start } from "./start.ts";
import { stop } from "./stop.ts";

/** What has an end and a result. A reader's `logs` has neither. */
type Job = Exclude<AnyJob, { kind: "logs" }>;

/** More at once would only make each of them slower. */
const LANE_JOBS = 8;
/** What may take minutes must not keep a start from its turn. Null: it waits for nobody. */
const LANES = {
  // It makes room.
  stop: null,
  pull: "slow",
  run: "slow",
  accessory: "slow",
  command: "command",
  start: "start",
} as const satisfies Record<Job["kind"], string | null>;
const KINDS = Object.keys(LANES) as Job["kind"][];
const LEASE_RENEWALS = 3;
const MIN_RENEWAL_MS = 500;
/** A hook's lines are read while it runs: each renewal carries the last. */
const LINE_MS = 1_000;

export interface DispatchDeps {
  runtime: Runtime;
  instances: Instances;
  hooks: Hooks;
  images: Images;
  policy: Policy;
  secrets: Secrets;
  signatures: Signatures;
  journal: Journal;
  control: Control;
  clock: Clock;
  log: Log;
}

interface Running {
  kind: Job["kind"];
  lease: string;
  /** Control gave the job away: the result is dropped unless it is handed to us again. */
  leaseLost: boolean;
  message: string;
  abort: AbortController;
  finished: Promise<void>;
}

/** Runs jobs, each once however often it is handed over, keeps their leases, and delivers what they came to. */
export class Dispatch {
  readonly #deps: DispatchDeps;
  readonly #running = new Map<string, Running>();
  /** Instances of start jobs that run. */
  readonly #starting = new Set<string>();
  readonly #delivering = new Map<string, Promise<void>>();
  /** What hooks left behind is being cleared away: no result waits for it. */
  readonly #clearing = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  /** Jobs that ended since this agent began. */
  readonly counts = { done: 0, failed: 0 };

  constructor(deps: DispatchDeps) {
    this.#deps = deps;
  }

  /** Kinds that there is a place for. */
  get takes(): Job["kind"][] {
    const lanes = [...this.#running.values()].map(({ kind }) => LANES[kind]);
    const hasPlace = (lane: string | null) =>
      lane === null || lanes.filter((taken) => taken === lane).length < LANE_JOBS;
    return KINDS.filter((kind) => hasPlace(LANES[kind]));
  }

  /** Jobs that were taken and are not over until control knows how they ended. */
  get jobs(): string[] {
    return [...new Set([...this.#running.keys(), ...Object.keys(this.#deps.journal.state.finished)])];
  }

  /** True while jobs run or results wait: control will soon have more. */
  get isBusy(): boolean {
    return this.#running.size > 0 || this.#delivering.size > 0;
  }

  /**
   * Takes a job from a poll's answer. `controlNow` is control's clock at that moment: deadlines are by it. `secretNames`: which
   * of its variables nothing may tell.
   */
  accept(job: Job, controlNow: number, secretNames?: readonly string[]): void {
    this.#learn(job, secretNames);
    const running = this.#running.get(job.id);
    if (running) {
      running.lease = job.lease;
      running.leaseLost = false;
      return;
    }
    const finished = this.#deps.journal.state.finished[job.id];
    if (finished) {
      // Its answer was lost on the way: the same answer again, under the new lease.
      void this.#deps.journal.update(() => {
        finished.lease = job.lease;
      });
      return this.#deliver(job.id);
    }
    this.#begin(job, controlNow);
  }

  /** Delivers what an earlier agent finished but could not report. */
  resume(): void {
    this.#deps.hooks.resume();
    for (const id of Object.keys(this.#deps.journal.state.finished)) this.#deliver(id);
  }

  /** Ends the waiting, not the work: containers stay as they are, and control hands unfinished jobs out again. */
  async stop(): Promise<void> {
    this.#stop.abort(AGENT_STOPS);
    for (const { abort } of this.#running.values()) abort.abort(AGENT_STOPS);
    await Promise.all([...this.#running.values()].map(({ finished }) => finished));
    await Promise.all(this.#delivering.values());
    await Promise.all(this.#clearing);
  }

  #learn(job: Job, names: readonly string[] | undefined): void {
    const { secrets, journal } = this.#deps;
    const scope = scopeOfJob(job);
    secrets.learn(scope, valuesOf(job, names));
    if (!names?.length) return;
    // The next agent has to know which of a container's variables they are.
    void journal.update(({ secretNames }) => {
      secretNames[scope] = [...new Set([...(secretNames[scope] ?? []), ...names])];
    });
  }

  #begin(job: Job, controlNow: number): void {
    const abort = new AbortController();
    const running: Running = {
      kind: job.kind,
      lease: job.lease,
      leaseLost: false,
      message: `${job.kind} accepted`,
      abort,
      finished: Promise.resolve(),
    };
    this.#running.set(job.id, running);
    running.finished = this.#run(job, running, controlNow);
  }

  async #run(job: Job, running: Running, controlNow: number): Promise<void> {
    const { journal, log, clock, secrets } = this.#deps;
    const over = new AbortController();
    const until = (ms: number, then: () => void) =>
      void clock.sleep(ms, over.signal).then(() => {
        if (!over.signal.aborted) then();
      });
    until(job.deadlineAt - controlNow, () => running.abort.abort("deadline"));
    void this.#keepLease(job, running, { leaseMs: job.leaseExpiresAt - controlNow, signal: over.signal });
    log.info(`job ${job.kind} begins`, idsOf(job));
    const deadlineAt = clock.now() + job.deadlineAt - controlNow;
    const outcome = redactOutcome(secrets, scopeOfJob(job), await this.#perform(job, running, deadlineAt));
    over.abort();
    if (!this.#stop.signal.aborted) {
      this.counts[outcome.ok ? "done" : "failed"] += 1;
      log[outcome.ok ? "info" : "warn"](`job ${job.kind} ${outcome.ok ? "done" : "failed"}`, {
        ...idsOf(job),
        ...(!outcome.ok && { code: outcome.error.code, message: outcome.error.message }),
      });
      await this.#keepResult(job, running, outcome);
    }
    if (job.kind === "start") this.#starting.delete(job.spec.instance);
    this.#running.delete(job.id);
    if (journal.state.finished[job.id]) this.#deliver(job.id);
  }

  async #keepResult(job: Job, running: Running, outcome: Outcome<JobResult>): Promise<void> {
    const { journal, hooks, log } = this.#deps;
    if (running.leaseLost) {
      log.warn("lease lost: result dropped", idsOf(job));
      if (isRun(job)) await hooks.release(job.run, { acknowledged: false });
      return;
    }
    await journal.update(({ finished }) => {
      finished[job.id] = { lease: running.lease, outcome, ...(isRun(job) && { run: job.run }) };
    });
  }

  async #perform(job: Job, running: Running, deadlineAt: number): Promise<Outcome<JobResult>> {
    const stale = await this.#checkFence(job);
    if (stale) return stale;
    const { runtime, instances, hooks, images, journal } = this.#deps;
    const context: JobContext = {
      runtime,
      instances,
      hooks,
      images,
      journal,
      deadlineAt,
      signal: running.abort.signal,
      progress: (message) => {
        running.message = this.#deps.secrets.hide(scopeOfJob(job), message).slice(0, 500);
      },
    };
    try {
      const refused = (await this.#checkPolicy(job)) ?? (await this.#checkSignature(job, context));
      return refused ?? (await this.#hand(job, context));
    } catch (thrown) {
      this.#deps.log.error("job broke", {
        ...idsOf(job),
        error: thrown instanceof Error ? thrown.stack : words(thrown),
      });
      return failed("internal", `the agent broke while doing ${job.kind}: ${words(thrown)}`);
    }
  }

  /** Each kind's own: one without a hand does not compile. */
  #hand(job: Job, context: JobContext): Promise<Outcome<JobResult>> {
    switch (job.kind) {
      case "pull":
        return this.#pull(job, context);
      case "start":
        return start(job, context);
      case "stop":
        return stop(job, context);
      case "run":
      case "command":
        return run(job, context);
      case "accessory":
        return accessory(job, context);
    }
  }

  /** Which image a tag means is known once it is here; nothing of it has run by then. */
  async #pull(job: Extract<Job, { kind: "pull" }>, context: JobContext): Promise<Outcome<JobResult>> {
    const pulled = await pull(job, context);
    if (!pulled.ok) return pulled;
    const { verify: rule, login } = job;
    const { image } = pulled.value;
    const refused = await this.#deps.signatures.refuse({ image, rule, login, progress: context.progress });
    return refused ?? pulled;
  }

  async #checkSignature(job: Job, { progress }: JobContext): Promise<Outcome<never> | undefined> {
    const { signatures, journal } = this.#deps;
    if (job.kind === "start") {
      const { image, verify: rule } = job.spec;
      return signatures.refuse({ image, rule, login: job.login, progress });
    }
    // Begun already: what is left is to tell how it ends.
    if (!isRun(job) || journal.state.runs[job.run]) return undefined;
    return signatures.refuse({
      image: job.image,
      rule: job.verify,
      login: "login" in job ? job.login : undefined,
      progress,
    });
  }

  /** A coordinator that was paused and woke up must not act: its number is lower than what was seen since. */
  async #checkFence(job: Job): Promise<Outcome<never> | undefined> {
    const { journal } = this.#deps;
    const highest = journal.state.fences[job.environmentId] ?? Number.NEGATIVE_INFINITY;
    if (job.fence < highest) {
      const message = `job ${job.id} carries fence ${job.fence}, but ${highest} was seen for its environment: a newer coordinator is at work`;
      return failed("stale_fence", message);
    }
    if (job.fence > highest) {
      await journal.update(({ fences }) => {
        fences[job.environmentId] = job.fence;
      });
    }
    return undefined;
  }

  /** Of two starts at once, the second is counted with the first, which the journal may not have yet. */
  async #checkPolicy(job: Job): Promise<Outcome<never> | undefined> {
    const { policy, journal } = this.#deps;
    // Begun already, by rules that were kept then: what is left is to tell how it ends.
    if (isRun(job) && journal.state.runs[job.run]) return undefined;
    const instances = new Set([...Object.keys(journal.state.instances), ...this.#starting]);
    if (job.kind === "start") this.#starting.add(job.spec.instance);
    return policy.check(job, instances);
  }

  async #keepLease(job: Job, running: Running, lease: { leaseMs: number; signal: AbortSignal }) {
    const { control, clock } = this.#deps;
    let everyMs = Math.max(MIN_RENEWAL_MS, lease.leaseMs / LEASE_RENEWALS);
    let renewedAt = clock.monotonic();
    let said = running.message;
    while (!lease.signal.aborted) {
      const lookMs = isRun(job) ? Math.min(LINE_MS, everyMs) : everyMs;
      await clock.sleep(lookMs, lease.signal);
      if (lease.signal.aborted) return;
      const canWait = clock.monotonic() + lookMs - renewedAt <= everyMs;
      if (canWait && running.message === said) continue;
      renewedAt = clock.monotonic();
      said = running.message;
      const sent = { lease: running.lease, message: running.message };
      const answer = await control(`/agent/v1/jobs/${job.id}/progress`, sent, jobProgressAnswerSchema);
      if (!answer.ok && answer.kind === "refused" && answer.status === 409 && sent.lease === running.lease) {
        running.leaseLost = true;
      }
      if (!answer.ok) everyMs = Math.max(MIN_RENEWAL_MS, everyMs / 2);
    }
  }

  #deliver(id: string): void {
    if (this.#delivering.has(id)) return;
    const delivery = this.#deliverUntilDone(id).finally(() => {
      this.#delivering.delete(id);
      // Handed out again, and over, before this one was.
      if (this.#deps.journal.state.finished[id] && !this.#stop.signal.aborted) this.#deliver(id);
    });
    this.#delivering.set(id, delivery);
  }

  async #deliverUntilDone(id: string): Promise<void> {
    const { clock, hooks, journal } = this.#deps;
    const run = journal.state.finished[id]?.run;
    for (let attempt = 0; !this.#stop.signal.aborted; attempt++) {
      const delivery = await deliverResult(id, this.#deps);
      if (delivery !== "again") {
        if (run) this.#clear(hooks.release(run, { acknowledged: delivery === "acknowledged" }));
        return;
      }
      await clock.sleep(outagePause(attempt), this.#stop.signal);
    }
  }

  #clear(release: Promise<void>): void {
    const cleared = release.finally(() => this.#clearing.delete(cleared));
    this.#clearing.add(cleared);
  }
}

/** What a job is about, for the log. */
function idsOf(job: Job): { job: string; release?: string; instance?: string } {
  if (job.kind === "start") return { job: job.id, release: job.spec.release, instance: job.spec.instance };
  if (job.kind === "stop") return { job: job.id, instance: job.instance };
  return { job: job.id, ...(isRun(job) && { release: job.release }) };
}

/** What is run to its end, once. */
const isRun = (job: Job): job is Extract<Job, { kind: "run" | "command" }> =>
  job.kind === "run" || job.kind === "command";
