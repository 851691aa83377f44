import { Clock } from "./clock.ts";
import { Dice } from "./dice.ts";
import type { Fault, FaultKind } from "./faults.ts";
import { Ledger } from "./hosts/ledger.ts";
import type { App, Scenario } from "./scenario.ts";

/** To come: so that no alarm of a real coordinator fires by itself. */
export const BEGIN = 4_000_000_000_000;

export interface Told {
  /** ms since the beginning. */
  readonly at: number;
  readonly who: string;
  readonly what: string;
}

/** What everybody in a run stands on: its scenario, one clock, the apps, the story so far and what broke an invariant. */
export class Setting {
  readonly scenario: Scenario;
  readonly clock = new Clock(BEGIN);
  /** Null: nobody listens. */
  readonly story: Told[] | null;
  /** The first of each kind. */
  readonly faults = new Map<FaultKind, Fault>();
  readonly ledger = new Ledger((kind, text) => this.fault(kind, text));
  readonly #apps = new Map<string, App>();

  constructor(scenario: Scenario, isTold = false) {
    this.scenario = scenario;
    this.story = isTold ? [] : null;
  }

  say(who: string, what: () => string): void {
    this.story?.push({ at: this.clock.now - BEGIN, who, what: what() });
  }

  fault(kind: FaultKind, text: string): void {
    if (this.faults.has(kind)) return;
    this.faults.set(kind, { kind, at: this.clock.now - BEGIN, text });
    this.say("FAULT", () => `${kind}: ${text}`);
  }

  dice(purpose: string): Dice {
    return new Dice(this.scenario.seed, purpose);
  }

  setApp(release: string, app: App): void {
    this.#apps.set(release, app);
  }
  appOf(release: string): App {
    const app = this.#apps.get(release);
    if (!app) throw new Error(`nobody deployed ${release}`);
    return app;
  }
}
