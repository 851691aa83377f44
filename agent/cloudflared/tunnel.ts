import type { HostUsage } from "../../src/protocol/agent/host-facts.ts";
import { tunnelAnswerSchema } from "../../src/protocol/agent/tunnel.ts";
import { backOff, type Clock, jittered } from "../clock.ts";
import type { Control } from "../control/control.ts";
import type { Log } from "../log.ts";
import { words } from "../outcome.ts";
import { Signal } from "../signal.ts";
import type { Choice } from "./choose.ts";
import { Supervisor, type TunnelFacts } from "./supervisor.ts";
import { readWanted, type Wanted, writeWanted } from "./wanted.ts";

const ERRORS = { first: 1_000, max: 60_000 };
const CHOOSE_MS = 60_000;
const CALM_MS = 3_000;
const BUSY_MS = 500;

export interface TunnelOptions {
  directory: string;
  /** Host id. */
  host: string;
  control: Control;
  clock: Clock;
  log: Log;
  choose(): Promise<Choice>;
  /** Its facts are not what they were. */
  onChange(): void;
}

/**
 * This host's tunnel. Control says what is to run and the supervisor keeps it running; a deploy, a restart of the agent and an
 * outage of control never touch it. A host whose control never speaks of a tunnel does nothing of this.
 */
export class Tunnel {
  readonly #options: TunnelOptions;
  readonly #news: Signal;
  #wanted: Wanted | undefined;
  #supervisor: Supervisor | undefined;
  /** Why there is nothing to run it with. */
  #problem = "cloudflared is being looked for";
  #chooseAt = 0;
  /** What the last poll said. */
  #heard: number | undefined;
  /** The last of those that was answered. */
  #answered: number | undefined;
  #askAt = 0;
  #failures = 0;
  /** Why there is no tunnel yet. */
  #waitingFor: string | undefined;
  #told = "";

  constructor(options: TunnelOptions) {
    this.#options = options;
    this.#news = new Signal(options.clock);
  }

  /** A poll's answer: another number than the last that was answered for means that the tunnel or its token is another. */
  heard(rev: number | undefined): void {
    if (rev === undefined || rev === this.#heard) return;
    this.#heard = rev;
    this.#askAt = 0;
    this.#news.raise();
  }

  get facts(): TunnelFacts | undefined {
    if (this.#wanted === undefined)
      return this.#waitingFor === undefined ? undefined : { state: "starting", cause: this.#waitingFor };
    return this.#supervisor?.facts ?? { state: "down", cause: this.#problem };
  }

  /** What cloudflared has carried; undefined: there is none to ask. */
  async counts(): Promise<HostUsage["cloudflared"]> {
    return this.#supervisor?.counts();
  }

  /** Runs until aborted, and then lets cloudflared run on. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log, directory, host } = this.#options;
    this.#wanted = await readWanted(directory, host);
    this.#answered = this.#wanted?.rev;
    while (!signal.aborted) {
      if (this.#isAskDue()) await this.#ask();
      try {
        await this.#supervise();
      } catch (thrown) {
        // A full disk, an engine that restarts: the next look may do better, and cloudflared itself runs on.
        log.error("looking after cloudflared failed", { detail: words(thrown) });
      }
      this.#tell();
      await this.#news.wait(signal, this.#pauseMs(clock.monotonic()));
    }
  }

  #isAskDue(): boolean {
    return (
      this.#heard !== this.#answered &&
      this.#heard !== undefined &&
      this.#options.clock.monotonic() >= this.#askAt
    );
  }

  async #ask(): Promise<void> {
    const { control, clock, log, directory, host } = this.#options;
    const asked = this.#heard;
    const answer = await control("/agent/v1/tunnel", {}, tunnelAnswerSchema);
    if (!answer.ok) {
      if (this.#failures === 0)
        log.warn("control does not say how the tunnel is to run", { detail: answer.detail });
      this.#askAt = clock.monotonic() + jittered(backOff(this.#failures++, ERRORS));
      return;
    }
    this.#failures = 0;
    const { value } = answer;
    if (value.state === "pending") {
      if (this.#waitingFor !== value.cause) log.info("the tunnel is being made", { cause: value.cause });
      this.#waitingFor = value.cause.slice(0, 500);
      this.#askAt = clock.monotonic() + Math.max(BUSY_MS, value.retryAfterMs);
      return;
    }
    this.#waitingFor = undefined;
    if (value.state === "none") {
      // It may carry traffic: whoever wants it gone removes the host, or stops it here.
      if (this.#wanted)
        log.warn("control knows no tunnel of this host any more; cloudflared is left running");
    } else {
      const { rev, tunnelId, token, configVersion } = value;
      const wanted = { host, rev, tunnelId, token, configVersion };
      await writeWanted(directory, wanted);
      this.#wanted = wanted;
    }
    this.#answered = asked;
  }

  async #supervise(): Promise<void> {
    const { clock, log, choose } = this.#options;
    if (!this.#wanted) return;
    if (!this.#supervisor && clock.monotonic() >= this.#chooseAt) {
      const choice = await choose();
      if ("connectors" in choice) this.#supervisor = new Supervisor({ ...choice, clock, log });
      else {
        this.#problem = choice.problem;
        log.error(choice.problem);
      }
      this.#chooseAt = clock.monotonic() + CHOOSE_MS;
    }
    await this.#supervisor?.tick(this.#wanted);
  }

  #tell(): void {
    const facts = JSON.stringify(this.facts) ?? "";
    if (facts === this.#told) return;
    this.#told = facts;
    this.#options.onChange();
  }

  #pauseMs(now: number): number | undefined {
    const untilAsk =
      this.#heard === this.#answered ? Number.POSITIVE_INFINITY : Math.max(BUSY_MS, this.#askAt - now);
    const untilLook = !this.#wanted
      ? Number.POSITIVE_INFINITY
      : this.#supervisor
        ? this.#supervisor.isCalm
          ? CALM_MS
          : BUSY_MS
        : CHOOSE_MS;
    const pause = Math.min(untilAsk, untilLook);
    return Number.isFinite(pause) ? pause : undefined;
  }
}
