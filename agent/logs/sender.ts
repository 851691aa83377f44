import { randomUUID } from "node:crypto";
import { type LogChunk, type LogChunkAnswer, logChunkAnswerSchema } from "../../src/protocol/agent/logs.ts";
import { backOff, type Clock, jittered } from "../clock.ts";
import type { Control } from "../control/control.ts";
import type { Signal } from "../signal.ts";
import type { LogOutbox } from "./outbox.ts";

/** Lines that come together go together. */
const GATHER_MS = 100;
/** A quiet host asks so often whether anybody still reads. */
const QUIET_MS = 15_000;
const BEHIND_MS = 500;
const UNREACHABLE = { first: 250, max: 5_000 };

export interface LogSenderDeps {
  control: Control;
  clock: Clock;
  stream: string;
  outbox: LogOutbox;
  /** Raised when the outbox changed, or when there will be no more. */
  changed: Signal;
  signal: AbortSignal;
}

/** Brings chunks to control, one after the other, each until it is taken or nobody wants it. */
export class LogSender {
  readonly #deps: LogSenderDeps;
  /** All that was written before the reader came has been given to the outbox. */
  isLive = false;
  /** Nothing more will be given to it. */
  isOver = false;

  constructor(deps: LogSenderDeps) {
    this.#deps = deps;
  }

  /** Where to read on, by instance; undefined: nobody reads. */
  async hello(): Promise<Readonly<Record<string, string>> | undefined> {
    const answer = await this.#send({ hello: true, lines: [] });
    return answer && (answer.after ?? {});
  }

  /** Sends what comes until all is sent, or nobody reads any more. */
  async run(): Promise<void> {
    const { clock, outbox, changed, signal } = this.#deps;
    let toldLive = false;
    let toldEnd = false;
    while (!toldEnd && !signal.aborted) {
      if (outbox.isEmpty && toldLive === this.isLive && !this.isOver) await changed.wait(signal, QUIET_MS);
      if (!this.isOver && !outbox.isFull) await clock.sleep(GATHER_MS, signal);
      // Read before the outbox is emptied: what is said of it must not be younger than what is in it.
      toldEnd = this.isOver;
      toldLive = this.isLive;
      if (signal.aborted || !(await this.#send({ ...outbox.take(), live: toldLive, end: toldEnd }))) return;
    }
  }

  async #send(chunk: Omit<LogChunk, "chunk">): Promise<LogChunkAnswer | undefined> {
    const { control, clock, stream, signal } = this.#deps;
    const named: LogChunk = { chunk: randomUUID(), ...chunk };
    for (let attempt = 0; !signal.aborted; ) {
      const answer = await control(`/agent/v1/logs/${stream}`, named, logChunkAnswerSchema);
      if (answer.ok) {
        if (!answer.value.wanted) return undefined;
        if (answer.value.taken) return answer.value;
        await clock.sleep(jittered(BEHIND_MS), signal);
      } else if (answer.kind === "refused") return undefined;
      else await clock.sleep(jittered(backOff(attempt++, UNREACHABLE)), signal);
    }
    return undefined;
  }
}
