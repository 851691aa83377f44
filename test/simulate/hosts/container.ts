import type { LeasedJob, Report } from "../control/port.ts";
import type { App } from "../scenario.ts";
import type { Setting } from "../setting.ts";

const FIRST_RESTART_MS = 1_000;
const LONGEST_RESTART_MS = 60_000;
/** Its agent's probes notice that it hangs after this long. */
const NOTICED_MS = 3_000;
const KEPT_EXITS = 5;

/** What a container runs on. */
export interface Machine {
  readonly name: string;
  readonly isUp: boolean;
  readonly agentIsUp: boolean;
  /** Which of its ways are cut now. */
  readonly cuts: { readonly visitors: number };
  /** Its agent tells control how an instance is now. */
  report(instance: string, said: Omit<Report, "seq">): Report;
  runsAlone(one: Container): void;
}

interface Place {
  readonly id: string;
  readonly releaseId: string;
  /** Null: a worker, which has none. */
  readonly slotId: string | null;
  readonly worker: LeasedJob["worker"];
}

/** One instance as it really is, whatever anybody knows of it. */
export class Container {
  readonly id: string;
  readonly releaseId: string;
  readonly slotId: string | null;
  readonly worker: LeasedJob["worker"];
  state: "booting" | "ready" | "down" | "gone" = "down";
  /** When it last began, or ceased, to answer. Epoch ms. */
  since: number;
  /** What its agent said of it last. */
  told: Report = { seq: 0, state: "starting", cause: null, exits: [] };
  /** No restart helps any more. */
  isBroken = false;
  readonly #setting: Setting;
  readonly #host: Machine;
  readonly #app: App;
  #frozenUntil = 0;
  /** Rises with each boot and end: what was planned before does not happen any more. */
  #life = 0;
  #restarts = 0;
  #wasReady = false;
  #exits: number[] = [];
  readonly #waiting: ((cause: string | null) => void)[] = [];

  constructor(setting: Setting, host: Machine, place: Place) {
    this.#setting = setting;
    this.#host = host;
    this.#app = setting.appOf(place.releaseId);
    this.id = place.id;
    this.releaseId = place.releaseId;
    this.slotId = place.slotId;
    this.worker = place.worker;
    this.since = setting.clock.now;
    setting.ledger.started(this.id);
  }

  get answers(): boolean {
    return this.state === "ready" && !this.isFrozen && this.#host.isUp;
  }
  get isFrozen(): boolean {
    return this.#frozenUntil > this.#setting.clock.now;
  }
  /** Whether a visitor can reach it. */
  get isReachable(): boolean {
    return this.answers && this.#host.cuts.visitors === 0;
  }
  get errorRate(): number {
    return this.#app.errorRate;
  }

  boot(): void {
    const life = ++this.#life;
    this.#become("booting");
    if (this.worker?.isAlone) this.#host.runsAlone(this);
    const { boot, bootMs } = this.#app;
    this.#setting.clock.after(bootMs, () => {
      if (life !== this.#life) return;
      if (boot === "exits" || this.isBroken) return this.end("exited with code 1");
      if (boot === "good") this.#getReady(life);
    });
  }

  #getReady(life: number): void {
    this.#become("ready");
    this.#wasReady = true;
    this.#setting.ledger.becameReady(this.id);
    this.#tell("ready", null);
    for (const told of this.#waiting.splice(0)) told(null);
    const { ends } = this.#app;
    if (!ends || !isChosen(ends.which, this.id)) return;
    this.#setting.clock.after(ends.afterMs, () => {
      if (life !== this.#life) return;
      this.isBroken = ends.forGood;
      this.end("exited with code 137");
    });
  }

  /** Its process ends; its agent begins it again, later each time. */
  end(cause: string): void {
    if (this.state === "gone") return;
    const life = ++this.#life;
    this.#frozenUntil = 0;
    this.#become("down");
    this.#exits = [...this.#exits, this.#setting.clock.now].slice(-KEPT_EXITS);
    this.#setting.say(this.#host.name, () => `${this.id} ${cause}`);
    this.#tell("exited", cause);
    for (const told of this.#waiting.splice(0)) told(cause);
    const waitMs = Math.min(FIRST_RESTART_MS * 2 ** this.#restarts++, LONGEST_RESTART_MS);
    this.#setting.clock.after(waitMs, () => {
      if (life === this.#life && this.#host.agentIsUp) this.boot();
    });
  }

  freeze(forMs: number): void {
    const { clock } = this.#setting;
    this.#frozenUntil = Math.max(this.#frozenUntil, clock.now + forMs);
    this.since = clock.now;
    clock.after(NOTICED_MS, () => {
      if (this.isFrozen && this.state === "ready") this.#tell("unready", "no answer within 1000 ms");
    });
    clock.after(forMs, () => {
      if (this.isFrozen || this.state !== "ready") return;
      this.since = clock.now;
      this.#tell("ready", null);
    });
  }

  powerOff(): void {
    this.#life += 1;
    this.#become("down");
    this.#frozenUntil = 0;
    this.#waiting.length = 0;
  }

  /** Its agent is new: tells how it is. One that ended meanwhile is treated as one that ends now. */
  adopt(): void {
    if (this.state === "down" && this.#wasReady) this.end("ended while its agent was away");
    else if (this.state === "down") this.boot();
    else if (this.state === "ready") this.#tell(this.isFrozen ? "unready" : "ready", null);
  }

  remove(): void {
    this.#life += 1;
    this.#become("gone");
    for (const told of this.#waiting.splice(0)) told("it was stopped");
  }

  /** Told once: null when it is ready, or why it is not going to be. */
  whenStarted(deadlineMs: number, told: (cause: string | null) => void): void {
    if (this.state === "ready") return told(null);
    let isTold = false;
    const once = (cause: string | null) => {
      if (isTold) return;
      isTold = true;
      told(cause);
    };
    this.#waiting.push(once);
    this.#setting.clock.after(deadlineMs, () => once(`not ready within ${deadlineMs} ms`));
  }

  #become(state: Container["state"]): void {
    this.state = state;
    this.since = this.#setting.clock.now;
  }

  #tell(state: "ready" | "unready" | "exited", cause: string | null): void {
    if (this.#host.agentIsUp) this.told = this.#host.report(this.id, { state, cause, exits: this.#exits });
  }
}

/** Of a release's instances, told by their numbers: all, each second one, or the first. */
export function isChosen(which: "all" | "half" | "one", id: string): boolean {
  const number = Number(id.slice(id.lastIndexOf("-") + 1));
  return which === "all" || (which === "half" ? number % 2 === 1 : number === 1);
}
