import { clean, duration, tame } from "../io/print.ts";
import type { Session } from "../session.ts";
import { type Annotation, type Ci, ciOf } from "./ci.ts";

export const STAGES = ["requires", "build", "push", "release", "smoke"] as const;
export type Stage = (typeof STAGES)[number];

export interface StageEnd {
  readonly stage: Stage;
  readonly result: "done" | "skipped" | "failed" | "interrupted";
  readonly ms: number;
  readonly note: string;
}

/** What a stage says while it works. */
export interface StageLog {
  /** A line of a tool's own output: on a terminal the last one is seen, in a log as many as fit. */
  readonly line: (text: string) => void;
  /** What the stage has come to; stands behind its name at the end. */
  readonly note: (text: string) => void;
  /** It has ended, and not well, and what follows is the caller's to decide. */
  readonly fail: (note: string) => void;
}

/** Of one stage's output, as much as a log gets: a build that prints 100 MB is no reason for a log of 100 MB. */
const LOG_MOST = 256 * 1024;

/** Runs stages one after another, times them, and shows each: one living line on a terminal, a group in a CI's log. */
export class Stages {
  readonly ends: StageEnd[] = [];
  readonly ci: Ci | undefined;
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
    this.ci = ciOf(session.env);
  }

  /** `live: false`: the stage draws for itself. */
  async run<T>(stage: Stage, work: (log: StageLog) => Promise<T>, { live = true } = {}): Promise<T> {
    const { out, now } = this.#session;
    const begun = now();
    let note = "";
    let result: StageEnd["result"] = "done";
    const shown = out.redraws ? this.#living(stage, live) : this.#logged(stage);
    const end = () => {
      shown.close();
      this.#finish({ stage, result, ms: now() - begun, note });
    };
    try {
      const value = await work({
        line: shown.line,
        note: (text) => {
          note = text;
        },
        fail: (text) => {
          note = text;
          result = "failed";
        },
      });
      end();
      return value;
    } catch (error) {
      result = this.#session.signal.aborted ? "interrupted" : "failed";
      end();
      throw error;
    }
  }

  skip(stage: Stage, note: string): void {
    this.#finish({ stage, result: "skipped", ms: 0, note });
  }

  annotate(annotation: Annotation): void {
    const line = this.ci?.annotate(annotation);
    if (line !== undefined) this.#session.out.mark(line);
  }

  #finish(end: StageEnd): void {
    this.ends.push(end);
    const { out } = this.#session;
    const [sign, style] = (
      {
        done: ["✔", "green"],
        skipped: ["-", "dim"],
        failed: ["✖", "red"],
        interrupted: ["✖", "red"],
      } as const
    )[end.result];
    const took = end.result === "skipped" ? "skipped" : duration(end.ms);
    out.say(
      `${out.paint(style, sign)} ${end.stage.padEnd(8)} ${took.padStart(7)}  ${clean(end.note)}`.trimEnd(),
    );
  }

  /** A group that a reader opens when it is of interest. */
  #logged(stage: Stage): { line: (text: string) => void; close: () => void } {
    const { out, now } = this.#session;
    const seconds = () => Math.floor(now() / 1_000);
    const begin = this.ci?.begin(stage, seconds());
    if (begin !== undefined) out.mark(begin);
    let written = 0;
    return {
      line(text) {
        if (written > LOG_MOST) return;
        const line = clean(text);
        written += Buffer.byteLength(line) + 1;
        out.say(written > LOG_MOST ? "… more than a log should hold: left out from here" : tame(line));
      },
      close: () => {
        const end = this.ci?.end(stage, seconds());
        if (end !== undefined) out.mark(end);
      },
    };
  }

  /** One line at the foot of the terminal: what is done, since when, and the last that was said. */
  #living(stage: Stage, live: boolean): { line: (text: string) => void; close: () => void } {
    if (!live) return { line: () => {}, close: () => {} };
    const { out, now } = this.#session;
    const begun = now();
    let [last, drawn] = ["", false];
    const clear = () => {
      if (drawn) out.draw("\r\u001b[2K");
      drawn = false;
    };
    const draw = () => {
      const head = `● ${stage.padEnd(8)} ${duration(now() - begun).padStart(7)}  `;
      const room = Math.max(0, out.columns - head.length - 1);
      out.draw(`\r\u001b[2K${head}${out.paint("dim", [...last].slice(0, room).join(""))}`);
      drawn = true;
    };
    out.setLive({ clear, draw });
    draw();
    // Calm: however fast lines come, a person sees four a second.
    const timer = setInterval(draw, 250);
    return {
      line: (text) => {
        last = clean(text).replaceAll("\t", " ").trim() || last;
      },
      close: () => {
        clearInterval(timer);
        clear();
        out.setLive(undefined);
      },
    };
  }
}
