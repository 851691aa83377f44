import type { JobErrorFacts } from "../../../src/domain/rollout/facts.ts";
import type { ControlPort, Inventory, LeasedJob, Outcome, Report } from "../control/port.ts";
import type { Dice } from "../dice.ts";
import type { Setting } from "../setting.ts";
import { besideOf } from "./alone.ts";
import { Container, type Machine } from "./container.ts";

const IDLE_MS = 30_000;
const RETRY_MS = 2_000;
/** As in hooks.ts of the agent. */
const HEARD_WITHIN_MS = 15_000;
const HUNG_GRACE_MS = 10_000;

/** Where a host is: in whose world, whose orders it takes, and which hosts there are, itself among them. */
interface Place {
  readonly setting: Setting;
  readonly control: ControlPort;
  readonly hosts: readonly Host[];
}

/** A machine with its agent: polls, does jobs, each once however often it is handed over, and reports what runs. */
export class Host implements Machine {
  readonly id: string;
  readonly name: string;
  isUp = true;
  agentIsUp = true;
  /** Which of its ways are cut now; counted, since cuts overlap. */
  readonly cuts = { control: 0, visitors: 0 };
  isRemoved = false;
  /** When a way of its was last cut or mended, or its agent or itself ended or began. */
  cutSince = 0;
  readonly containers = new Map<string, Container>();
  readonly #setting: Setting;
  readonly #control: ControlPort;
  readonly #hosts: readonly Host[];
  readonly #dice: Dice;
  #boot = 1;
  #polls = 0;
  /** Jobs at work, by id: their newest lease. */
  readonly #running = new Map<string, string>();
  /** Results that control has not acknowledged. */
  readonly #finished = new Map<string, { lease: string; outcome: Outcome }>();
  /** The journal's hooks: begun, and how they ended. */
  readonly #hooks = new Map<string, Outcome | null>();
  /** The newest report of each instance that control has not acknowledged. */
  readonly #reports = new Map<string, Report>();
  /** The journal's commands, by their run: begun, and how they ended. */
  readonly #commands = new Map<string, Outcome | null>();
  /** Slots whose ports somebody else has. */
  readonly #takenPorts = new Set<string>();
  #seq = 0;

  constructor({ setting, control, hosts }: Place, name: string) {
    this.#setting = setting;
    this.#control = control;
    this.#hosts = hosts;
    this.id = `host-${name}`;
    this.name = name;
    this.#dice = setting.dice(`host ${name}`);
    this.#pollIn(this.#takes("first poll", 0, 1_000));
  }

  get canTalk(): boolean {
    return this.isUp && this.agentIsUp && this.cuts.control === 0 && !this.isRemoved;
  }

  /** Control's socket says that there is work. */
  wake(): void {
    if (this.canTalk) this.#pollIn(this.#latency(`wake at ${this.#setting.clock.now}`));
  }

  // --- what happens to it -----------------------------------------------------------------------------------------------

  /** Somebody else's process takes the port of a slot, if that is free. */
  takePort(n: number, forMs: number): boolean {
    const slotId = `${this.name}/${n}`;
    if (!this.isUp || this.#inSlot(slotId) || this.#takenPorts.has(slotId)) return false;
    this.#takenPorts.add(slotId);
    this.#setting.clock.after(forMs, () => void this.#takenPorts.delete(slotId));
    return true;
  }

  #inSlot = (slotId: string): Container | undefined =>
    [...this.containers.values()].find((one) => one.slotId === slotId);

  /** Whoever removes it says that the machine is gone, with all that runs on it. */
  remove(): void {
    this.isRemoved = true;
    for (const [id, outcome] of this.#hooks) if (outcome === null) this.#setting.ledger.hookEnds(id);
  }

  endAgent(forMs: number): void {
    this.#endProcess();
    this.#setting.clock.after(forMs, () => this.#beginAgent());
  }

  /** All that ran is gone; it comes back with the machine. */
  end(forMs: number): void {
    this.isUp = false;
    this.#endProcess();
    for (const container of this.containers.values()) container.powerOff();
    for (const run of this.#commands.keys()) this.#endCommand(run, failure("lost", "its machine ended"));
    this.#setting.clock.after(forMs, () => {
      this.isUp = true;
      this.#beginAgent();
    });
  }

  /** Its way to control, to visitors (the tunnel) or both is cut for a time. */
  cut(from: "control" | "visitors" | "both", forMs: number): void {
    const ways = from === "both" ? (["control", "visitors"] as const) : [from];
    for (const way of ways) this.cuts[way] += 1;
    this.cutSince = this.#setting.clock.now;
    this.#setting.clock.after(forMs, () => {
      for (const way of ways) this.cuts[way] -= 1;
      this.cutSince = this.#setting.clock.now;
    });
  }

  #endProcess(): void {
    this.agentIsUp = false;
    this.cutSince = this.#setting.clock.now;
    this.#running.clear();
  }

  #beginAgent(): void {
    if (this.agentIsUp || !this.isUp) return;
    this.agentIsUp = true;
    this.cutSince = this.#setting.clock.now;
    this.#boot += 1;
    this.#setting.say(this.name, () => "its agent begins, and adopts what runs");
    for (const container of this.containers.values()) container.adopt();
    this.#pollIn(500);
  }

  // --- talking to control -----------------------------------------------------------------------------------------------

  /**
   * How long something takes, in ms. In a plain story it is a function of what it is, so that it takes as long with the real
   * control as with its double, in whatever order each of them asks.
   */
  #takes(what: string, from: number, to: number): number {
    const { scenario } = this.#setting;
    const dice = scenario.isPlain ? this.#setting.dice(`${this.name}, ${this.#nameOf(what)}`) : this.#dice;
    return dice.int(from, to);
  }
  /** The same with its release's version in place of its id, which the real control draws by chance. */
  #nameOf(what: string): string {
    const { releases } = this.#control.store;
    const told = releases.find(({ id }) => what.endsWith(id) || what.includes(`${id}-`));
    return told ? what.replace(told.id, told.version) : what;
  }
  #latency(what: string): number {
    return this.#takes(what, 5, 40 + this.#setting.scenario.network.slowMs);
  }
  #isLost(): boolean {
    const isLost = this.#dice.chance(this.#setting.scenario.network.lost);
    if (isLost) this.#setting.ledger.lostMessages += 1;
    return isLost;
  }
  #isTwice(): boolean {
    const isTwice = this.#dice.chance(this.#setting.scenario.network.twice);
    if (isTwice) this.#setting.ledger.doubledMessages += 1;
    return isTwice;
  }

  #pollIn(ms: number): void {
    const poll = ++this.#polls;
    this.#setting.clock.after(ms, () => {
      if (poll === this.#polls) return this.#poll();
    });
  }

  async #poll(): Promise<void> {
    if (this.isRemoved) return;
    if (!this.canTalk) return this.#pollIn(RETRY_MS);
    const answer = await this.#control.poll(this.id, this.#bootId, this.#inventory());
    if (answer === null) return this.#pollIn(RETRY_MS);
    for (const id of this.#finished.keys()) this.#deliver(id);
    for (const instance of this.#reports.keys()) this.#sendReport(instance);
    if (this.#isLost()) return this.#pollIn(RETRY_MS);
    for (const job of answer) this.#accept(job);
    this.#pollIn(this.#running.size > 0 || answer.length > 0 ? this.#setting.scenario.busyMs : IDLE_MS);
  }

  get #bootId(): string {
    return `${this.name}-${this.#boot}`;
  }

  /** All that this agent answers for, as its polls say it. */
  #inventory(): Inventory {
    const instances = new Map([...this.containers].map(([id, container]) => [id, container.told]));
    return { seq: this.#seq, instances, jobs: [...this.#running.keys(), ...this.#finished.keys()] };
  }

  #accept(job: LeasedJob): void {
    const finished = this.#finished.get(job.id);
    if (finished) {
      finished.lease = job.lease;
      return this.#deliver(job.id);
    }
    const isNew = !this.#running.has(job.id);
    this.#running.set(job.id, job.lease);
    if (!isNew) return;
    this.#setting.say(this.name, () => `begins ${job.id}`);
    this.#perform(job);
  }

  /** Ends a job, unless the process that did it has ended before. */
  #finish(job: LeasedJob, boot: number, outcome: Outcome): void {
    const lease = this.#running.get(job.id);
    if (boot !== this.#boot || lease === undefined || !this.agentIsUp) return;
    this.#running.delete(job.id);
    this.#finished.set(job.id, { lease, outcome });
    this.#setting.say(this.name, () => `${job.id}: ${"error" in outcome ? outcome.error.message : "done"}`);
    this.#deliver(job.id);
  }

  #deliver(id: string): void {
    const send = async () => {
      const finished = this.#finished.get(id);
      if (!finished || !this.canTalk) return;
      const answer = await this.#control.done(id, finished.lease, finished.outcome);
      // Unanswered ones go again with the next poll.
      if (answer !== "unreachable" && !this.#isLost()) this.#finished.delete(id);
    };
    const what = `result of ${id}`;
    this.#setting.clock.after(this.#latency(what), send);
    if (this.#isTwice()) this.#setting.clock.after(this.#latency(what) + 300, send);
  }

  /** Tells control how an instance is now. */
  report(instance: string, said: Omit<Report, "seq">): Report {
    const report = { ...said, seq: ++this.#seq };
    this.#reports.set(instance, report);
    this.#sendReport(instance);
    return report;
  }

  #sendReport(instance: string): void {
    const report = this.#reports.get(instance);
    if (!report) return;
    const send = async () => {
      if (!this.canTalk) return;
      if (!(await this.#control.report(this.id, this.#bootId, instance, report))) return;
      if (!this.#isLost() && this.#reports.get(instance) === report) this.#reports.delete(instance);
    };
    const what = `report ${report.seq}`;
    this.#setting.clock.after(this.#latency(what), send);
    if (this.#isTwice()) this.#setting.clock.after(this.#latency(what) + 500, send);
  }

  // --- jobs -------------------------------------------------------------------------------------------------------------

  #perform(job: LeasedJob): void {
    const boot = this.#boot;
    const finish = (outcome: Outcome) => this.#finish(job, boot, outcome);
    if (job.kind === "pull") return this.#pull(job, finish);
    if (job.kind === "start") return this.#start(job, finish);
    if (job.kind === "stop") return this.#stop(job, finish);
    if (job.kind === "command") return this.#command(job, finish);
    return this.#hook(job, finish);
  }

  #pull(job: LeasedJob, finish: (outcome: Outcome) => void): void {
    const app = this.#setting.appOf(job.releaseId);
    const outcome = app.pulls ? DONE : failure("image_missing", "no such image");
    this.#setting.clock.after(this.#takes(job.id, 200, 3_000), () => finish(outcome));
  }

  #start(job: LeasedJob, finish: (outcome: Outcome) => void): void {
    const { instanceId, slotId } = job;
    const boot = this.#boot;
    if (instanceId === null || (slotId === null && job.worker === null))
      return finish(failure("gone", `${job.id} starts nothing that is there any more`));
    let container = this.containers.get(instanceId);
    if (!container) {
      if (slotId !== null && this.#takenPorts.has(slotId))
        return finish(failure("port_in_use", `the port of ${slotId} is in use`));
      const other = slotId === null ? undefined : this.#inSlot(slotId);
      if (other) {
        this.#setting.fault("two in a slot", `${instanceId} and ${other.id} in ${slotId}`);
        return finish(failure("port_taken", `${other.id} has its port`));
      }
      const { releaseId, worker } = job;
      container = new Container(this.#setting, this, { id: instanceId, releaseId, slotId, worker });
      this.containers.set(instanceId, container);
      container.boot();
    }
    const { deadlineMs } = this.#setting.scenario.spec.health.startup;
    container.whenStarted(deadlineMs, (cause) => {
      if (cause === null) return finish(DONE);
      if (boot !== this.#boot || !this.agentIsUp) return;
      // Whatever a failed start began is ended.
      this.#remove(instanceId);
      finish(failure("start_failed", cause));
    });
  }

  #stop(job: LeasedJob, finish: (outcome: Outcome) => void): void {
    const fails = this.#setting.dice(`stop ${job.id}`).chance(this.#setting.scenario.stopsFail);
    this.#setting.clock.after(this.#takes(job.id, 100, 3_000), () => {
      if (fails) return finish(failure("internal", "the engine answers 500"));
      this.#remove(job.instanceId ?? "");
      this.#endCommand(job.instanceId ?? "", failure("stopped", "it was stopped"));
      finish(DONE);
    });
  }

  /**
   * Somebody removes the container behind the agent's back: it finds out, and can't make it again, unless its start is still
   * open: that is then begun anew.
   */
  lose(instance: string): void {
    const container = this.containers.get(instance);
    this.containers.delete(instance);
    container?.remove();
    this.#setting.ledger.removed(instance);
    if (this.agentIsUp)
      this.report(instance, { state: "gone", cause: "was removed from its host", exits: [] });
  }

  /** One begins to run that must be alone. */
  runsAlone(one: Container): void {
    const beside = besideOf(one, this.#hosts);
    if (beside) this.#setting.fault("two beside each other", `${one.id} begins while ${beside.id} runs`);
  }

  #remove(instance: string): void {
    this.containers.get(instance)?.remove();
    this.containers.delete(instance);
    this.#reports.delete(instance);
  }

  /** Runs once, until it ends, its time is over, it is stopped or its machine ends; the journal knows it. */
  #command(job: LeasedJob, finish: (outcome: Outcome) => void): void {
    const { ledger, clock } = this.#setting;
    const run = job.run ?? "";
    if (!this.#commands.has(run)) {
      this.#commands.set(run, null);
      ledger.commandBegins(run);
      const timeMs = Math.max(0, job.deadlineAt - this.#control.now - HEARD_WITHIN_MS);
      const takesMs = this.#takes(run, 500, 20_000);
      const outcome = takesMs > timeMs ? failure("deadline", "it took too long") : DONE;
      clock.after(Math.min(takesMs, timeMs), () => this.#endCommand(run, outcome));
    }
    const look = () => {
      const ended = this.#commands.get(run);
      if (ended) finish(ended);
      else clock.after(500, look);
    };
    look();
  }

  #endCommand(run: string, outcome: Outcome): void {
    if (this.#commands.get(run) === null) this.#commands.set(run, outcome);
  }

  /** Goes on to its end whatever becomes of its job; the journal knows it. */
  #hook(job: LeasedJob, finish: (outcome: Outcome) => void): void {
    const known = this.#hooks.get(job.id);
    if (known) return finish(known);
    const app = this.#setting.appOf(job.releaseId);
    const timeMs = job.deadlineAt - this.#control.now;
    const isHung = app.hookMs > timeMs - Math.min(HEARD_WITHIN_MS, timeMs / 10);
    const outcome = isHung
      ? failure("deadline", "the hook hung and was ended")
      : app.hookFails
        ? failure("hook_failed", "the hook exited with 1")
        : DONE;
    if (known === undefined) {
      this.#hooks.set(job.id, null);
      this.#setting.ledger.hookBegins(job.id);
      // One that hangs takes its grace to end.
      this.#setting.clock.after(isHung ? Math.max(0, timeMs) + HUNG_GRACE_MS : app.hookMs, () => {
        this.#hooks.set(job.id, outcome);
        this.#setting.ledger.hookEnds(job.id);
      });
    }
    const look = () => {
      const ended = this.#hooks.get(job.id);
      if (ended) finish(ended);
      else this.#setting.clock.after(500, look);
    };
    look();
  }
}

const DONE: Outcome = { ok: true };
const failure = (code: string, message: string): Outcome => ({
  error: { code, message, logs: [] } satisfies JobErrorFacts,
});
