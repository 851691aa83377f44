import type { FeedItem } from "../../src/client/index.ts";
import type { ReleaseView } from "../../src/protocol/api/releases.ts";
import type { Output } from "../io/output.ts";
import { apply, begin, liveView, logLine, type Progress, refresh, stillLine } from "./progress.ts";

/** Shows a release on its way. Times are counted on control's clock, taken on from the last event by ours. */
export interface Reporter {
  item(item: FeedItem): void;
  /** `turn`: what it waits for while it is queued. */
  refresh(release: ReleaseView, turn?: string): void;
  /** Takes the redrawn region away; what is said afterwards stands alone. */
  stop(): void;
}

interface ReporterParts {
  readonly out: Output;
  readonly release: ReleaseView;
  readonly was: string | undefined;
  readonly now: () => number;
  /** How often an append-only log says that it is still there. */
  readonly beatMs?: number;
}

export function createReporter(parts: ReporterParts): Reporter {
  const { out, now } = parts;
  let progress = begin(parts.release, parts.was);
  let anchor = { elapsedMs: elapsedAtStart(parts.release), at: now() };
  const elapsedMs = () => anchor.elapsedMs + now() - anchor.at;
  const surface = out.redraws
    ? liveSurface(out, () =>
        liveView(progress, { elapsedMs: elapsedMs(), columns: out.columns, paint: out.paint }),
      )
    : logSurface(out, () => stillLine(progress, elapsedMs()), parts.beatMs ?? 30_000);
  return {
    item(item) {
      const before = progress;
      progress = step(progress, item);
      if (item.kind === "event") {
        anchor = { elapsedMs: Date.parse(item.event.at) - Date.parse(progress.release.createdAt), at: now() };
        const line = logLine(progress, item.event);
        if (line !== undefined) surface.line(line);
      } else if (item.kind === "lost" && before.lost === undefined) {
        surface.line(stillLine(progress, elapsedMs()));
      } else if (item.kind === "heartbeat" && before.lost !== undefined) {
        surface.line(`${" ".repeat(9)}back in contact`);
      }
      surface.changed();
    },
    refresh(release, turn) {
      const isNew = turn !== undefined && turn !== progress.turn;
      progress = refresh(progress, release, turn);
      // At once: whoever waits for a person to unlock it should not learn so after half a minute.
      if (isNew) surface.line(stillLine(progress, elapsedMs()));
      surface.changed();
    },
    stop: () => surface.stop(),
  };
}

function step(progress: Progress, item: FeedItem): Progress {
  if (item.kind === "event") return apply(progress, item.event);
  return { ...progress, lost: item.kind === "lost" ? item.error.message : undefined };
}

/** A release watched from its middle has a past; one just made has none. */
function elapsedAtStart(release: ReleaseView): number {
  return Object.values(release.timings).reduce((sum, ms) => sum + ms, 0);
}

interface Surface {
  line(text: string): void;
  changed(): void;
  stop(): void;
}

/** Append-only: a line per change, and one when `beatMs` went by without any. */
function logSurface(out: Output, still: () => string, beatMs: number): Surface {
  const beat = () => setInterval(() => out.say(still()), beatMs);
  let timer = beat();
  return {
    line(text) {
      out.say(text);
      clearInterval(timer);
      timer = beat();
    },
    changed() {},
    stop: () => clearInterval(timer),
  };
}

/** A region at the foot of the terminal, redrawn each second and on each change; lines scroll past above it. */
function liveSurface(out: Output, view: () => string[]): Surface {
  let drawn = 0;
  const clear = () => {
    if (drawn > 0) out.draw(`\r\u001b[${drawn}A\u001b[0J`);
    drawn = 0;
  };
  const draw = () => {
    const lines = view();
    out.draw(`${lines.join("\n")}\n`);
    drawn = lines.length;
  };
  const redraw = () => {
    clear();
    draw();
  };
  out.setLive({ clear, draw });
  draw();
  const timer = setInterval(redraw, 1_000);
  return {
    line: (text) => out.say(text),
    changed: redraw,
    stop() {
      clearInterval(timer);
      clear();
      out.setLive(undefined);
    },
  };
}
