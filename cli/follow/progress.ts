import type { EnvironmentView } from "../../src/protocol/api/environments.ts";
import type { EventView } from "../../src/protocol/api/events.ts";
import type { InstanceView } from "../../src/protocol/api/instances.ts";
import type { ReleaseView } from "../../src/protocol/api/releases.ts";
import { clean, clock, inWords, type Paint, percent, stamp } from "../io/print.ts";

/** What is known of a release on its way, and how it reads. Pure: fed with answers, events and the time. */
export interface Progress {
  readonly release: ReleaseView;
  /** The version that had the traffic before. */
  readonly was: string | undefined;
  /** Its instances by id, as the last event or answer had them. */
  readonly instances: ReadonlyMap<string, InstanceLine>;
  /** The last thing control said about work in progress, e.g. how far a pull is. */
  readonly note: string | undefined;
  /** Why there is no contact at the moment. */
  readonly lost: string | undefined;
  /** What its turn waits for, while it is queued. */
  readonly turn: string | undefined;
}
/** `process`: it is a worker, and has no slot. */
type InstanceLine = Pick<InstanceView, "id" | "host" | "slot" | "state" | "ready" | "cause"> & {
  readonly process?: string | undefined;
};

const STAGES = ["queued", "preparing", "starting", "verifying", "shifting", "settling"] as const;
/** States in which the release has all it was asked for. `settling` only cleans up behind it. */
const SERVING: ReadonlySet<string> = new Set(["settling", "live"]);
const OVER: ReadonlySet<string> = new Set([...SERVING, "failed", "aborted", "rolled_back", "superseded"]);
/** Its workers may yet take it back. */
export const isDone = ({ state, handsOver }: Pick<ReleaseView, "state" | "handsOver">): boolean =>
  OVER.has(state) && !handsOver;
export const isServing = (state: string) => SERVING.has(state);
export const isOver = (state: string) => OVER.has(state);

export function begin(release: ReleaseView, was: string | undefined): Progress {
  return {
    release,
    was,
    instances: new Map(release.instances.map((instance) => [instance.id, instance])),
    note: undefined,
    lost: undefined,
    turn: undefined,
  };
}

/** A fresh answer outweighs what events said before it. `turn`: see {@link turnOf}. */
export const refresh = (progress: Progress, release: ReleaseView, turn?: string): Progress => ({
  ...begin(release, progress.was),
  note: progress.note,
  turn,
});

/** What a queued release's turn waits for, as the environment shows it; undefined: nothing that is known. */
export function turnOf(
  release: Pick<ReleaseView, "id" | "kind">,
  { active, lock, queued }: Pick<EnvironmentView, "active" | "lock" | "queued">,
): string | undefined {
  if (active && active.id !== release.id)
    return `${clean(active.version)}, which is ${inWords(active.state)}${active.paused ? " and paused" : ""}`;
  if (lock && release.kind !== "rollback")
    return `an unlock: ${clean(lock.holder)} locked it (${clean(lock.reason)})`;
  const others = queued.filter((other) => other.release < release.id);
  return others.length > 0 ? others.map(({ version }) => clean(version)).join(", ") : undefined;
}

/** Applies one event; what its `data` doesn't say stays as it was. */
export function apply(progress: Progress, event: EventView): Progress {
  const { data } = event;
  const lost = undefined;
  if (event.type === "release.progress") return { ...progress, note: clean(event.message), lost };
  if (event.type === "traffic.weights")
    return { ...progress, release: weighed(progress.release, data), lost };
  if (event.type === "release.state") {
    const state = typeof data.state === "string" ? data.state : progress.release.state;
    const weight = typeof data.weight === "number" ? data.weight : progress.release.weight;
    const known = isState(state) && !isBehind(state, progress.release.state) ? state : progress.release.state;
    return { ...progress, release: { ...progress.release, state: known, weight }, note: undefined, lost };
  }
  if (event.type === "instance.state" && typeof data.instance === "string") {
    const instances = new Map(progress.instances);
    instances.set(data.instance, instanceOf(data.instance, data, instances.get(data.instance)));
    return { ...progress, instances, lost };
  }
  return { ...progress, lost };
}

/** Events replayed from the beginning don't take back what a fresh answer has shown already. */
const isBehind = (state: string, current: string) => {
  const stages: readonly string[] = STAGES;
  return stages.includes(state) && stages.indexOf(state) < stages.indexOf(current);
};

const READY: ReadonlySet<string> = new Set(["ready", "serving"]);

/** What the event says of this release's weight, if anything: percent by release id. */
function weighed(release: ReleaseView, data: EventView["data"]): ReleaseView {
  const { weights } = data;
  const mine = typeof weights === "object" && weights !== null ? Reflect.get(weights, release.id) : undefined;
  return typeof mine === "number" ? { ...release, weight: mine } : release;
}

const STATES: ReadonlySet<string> = new Set([...OVER, ...STAGES, "rolling_back"]);
const isState = (state: string): state is ReleaseView["state"] => STATES.has(state);

function instanceOf(id: string, data: EventView["data"], before: InstanceLine | undefined): InstanceLine {
  const state = typeof data.state === "string" ? data.state : (before?.state ?? "unknown");
  return {
    id,
    host: typeof data.host === "string" ? data.host : (before?.host ?? "?"),
    slot: typeof data.slot === "number" ? data.slot : (before?.slot ?? 0),
    process: typeof data.process === "string" ? data.process : before?.process,
    state,
    ready: READY.has(state),
    cause: typeof data.cause === "string" ? data.cause : null,
  };
}

/** One plain sentence: what has to happen next. `elapsedMs` since the release's creation, for what is left of a step. */
export function waitsFor(progress: Progress, elapsedMs?: number): string {
  const { release, instances, note } = progress;
  const waiting = [...instances.values()].filter((instance) => !instance.ready);
  const names = waiting.slice(0, 3).map(place).join(", ") + (waiting.length > 3 ? ", …" : "");
  const words: Record<string, string> = {
    queued: progress.turn ?? "its turn",
    preparing: note ?? "the hosts to have the image",
    starting: waiting.length > 0 ? names : (note ?? "its instances to start"),
    verifying: note ?? "each new instance to answer through its tunnel",
    shifting: shiftWaitsFor(release, elapsedMs) ?? note ?? "the edge to move the traffic",
    rolling_back: `the traffic to be back on ${clean(progress.was ?? "the release before")}`,
  };
  return words[release.state] ?? note ?? "control";
}

/** What a canary or a pause waits for, as far as the release says it. */
function shiftWaitsFor(release: ReleaseView, elapsedMs: number | undefined): string | undefined {
  const { paused, step } = release;
  if (paused?.until === null) return `a person: ${clean(paused.reason)}`;
  if (!step) return undefined;
  const left = elapsedMs === undefined ? null : leftMs(release, elapsedMs);
  if (left === null) return clean(step.label);
  if (left > 0) return `${clean(step.label)}, ${clock(left)} left`;
  return `proof that it is no worse${release.verdict ? ` (${clean(release.verdict.words)})` : ""}`;
}

/** What is left of the step's own time; null: it has none, or has not begun. */
function leftMs({ createdAt, paused, plan, step }: ReleaseView, elapsedMs: number): number | null {
  const now = Date.parse(createdAt) + elapsedMs;
  if (paused) return paused.until === null ? null : Math.max(0, Date.parse(paused.until) - now);
  const forMs = step ? (plan.steps[step.index]?.forMs ?? null) : null;
  if (!step?.since || forMs === null || forMs === 0) return null;
  return Math.max(0, Date.parse(step.since) + forMs - now);
}

const place = (instance: InstanceLine) =>
  clean(`${nameOf(instance)}${instance.cause ? ` (${instance.cause})` : ""}`);

const nameOf = ({ host, slot, process }: InstanceLine) => `${host} ${process ?? `slot ${slot}`}`;

// --- append-only --------------------------------------------------------------------------------------------------

/** An event as a log line, or nothing: how far a host's job is would fill a CI log. Times run from the release's creation. */
export function logLine(progress: Progress, event: EventView): string | undefined {
  if (event.type === "release.progress" && typeof event.data.job === "string") return undefined;
  const time = stamp(Date.parse(event.at) - Date.parse(progress.release.createdAt));
  const label = event.type === "release.state" ? inWords(String(event.data.state ?? "")) : "";
  // The longest, `rolling back`, fills the column: a blank parts it from its sentence all the same.
  const column = label.length < 12 ? label.padEnd(12) : `${label} `;
  return `${time}  ${column}${clean(sentence(progress, event))}`.trimEnd();
}

/** Several instances of a release on one host differ by their slots: control's sentence doesn't name them. */
function sentence(progress: Progress, event: EventView): string {
  if (event.type !== "instance.state" || typeof event.data.instance !== "string") return event.message;
  const instance = instanceOf(event.data.instance, event.data, progress.instances.get(event.data.instance));
  return `${nameOf(instance)}: ${instance.state}${instance.cause ? `, ${instance.cause}` : ""}`;
}

/** The line that says "still there" while nothing changes. `elapsedMs` since the release's creation. */
export function stillLine(progress: Progress, elapsedMs: number): string {
  const time = stamp(elapsedMs);
  if (progress.lost) return `${time}  no contact: ${clean(progress.lost)}`;
  return `${time}  still ${inWords(progress.release.state)}: waits for ${waitsFor(progress, elapsedMs)}`;
}

// --- redrawn ------------------------------------------------------------------------------------------------------

const BAR = 24;

/** The live view: state, track, split, instances, what it waits for. At most `columns` wide, at most 14 lines. */
export function liveView(
  progress: Progress,
  at: { elapsedMs: number; columns: number; paint: Paint },
): string[] {
  const { release } = progress;
  const { paint } = at;
  const head = `${release.app}/${release.environment} ${release.version}`;
  const lines = [
    `${paint("bold", clean(head))}  ${inWords(release.state)}  ${paint("dim", clock(at.elapsedMs))}`,
    `  ${track(release.state, paint)}`,
    `  ${splitBar(progress, paint)}`,
    ...stepLines(progress, at),
    ...instanceLines(progress, paint),
    progress.lost
      ? paint("yellow", `  no contact: ${clean(progress.lost)}`)
      : paint("dim", `  waits for ${waitsFor(progress, at.elapsedMs)}`),
  ];
  return lines.map((line) => truncate(line, at.columns - 1));
}

function track(state: string, paint: Paint): string {
  const here = (STAGES as readonly string[]).indexOf(state);
  if (here < 0) return inWords(state);
  return STAGES.map((stage, i) => {
    if (i < here) return paint("green", `✔ ${stage}`);
    return i === here ? paint("cyan", `● ${stage}`) : paint("dim", `○ ${stage}`);
  }).join(" ");
}

function splitBar({ release, was }: Progress, paint: Paint): string {
  const mine = Math.round((release.weight / 100) * BAR);
  const bar = paint("green", "█".repeat(mine)) + paint("dim", "░".repeat(BAR - mine));
  const rest = was ? `, ${clean(was)} ${percent(100 - release.weight)}` : "";
  return `${bar} ${clean(release.version)} ${percent(release.weight)}${rest}`;
}

/** Which step of how many, and what the judge says. A rolling release's steps are its instances. */
function stepLines({ release, instances }: Progress, at: { elapsedMs: number; paint: Paint }): string[] {
  if (release.state !== "shifting") return [];
  const { step, verdict, paused } = release;
  const serving = [...instances.values()].filter(({ state }) => state === "serving").length;
  if (release.strategy === "rolling") return [`  rolling: ${serving} of its instances serve`];
  if (!step || step.of < 2) return [];
  const left = leftMs(release, at.elapsedMs);
  const time = left === null ? "" : ` · ${left > 0 ? `${clock(left)} left` : "time is up, waits for proof"}`;
  const held = paused ? at.paint("yellow", ` · paused by ${clean(paused.by)}`) : "";
  return [
    `  step ${step.index + 1} of ${step.of}: ${clean(step.label)}${time}${held}`,
    ...(verdict ? [`  judge: ${clean(verdict.words)}`] : []),
  ];
}

const INSTANCES_MAX = 8;

function instanceLines(progress: Progress, paint: Paint): string[] {
  const all = [...progress.instances.values()];
  const shown = all.length > INSTANCES_MAX ? all.filter((i) => !i.ready).slice(0, INSTANCES_MAX - 1) : all;
  const lines = shown.map((instance) => {
    const mark = instance.ready ? paint("green", "✔") : paint("cyan", "●");
    const cause = instance.cause ? `: ${instance.cause}` : "";
    return `  ${mark} ${clean(`${nameOf(instance)}  ${instance.state}${cause}`)}`;
  });
  const rest = all.length - shown.length;
  return rest > 0 ? [...lines, `    and ${rest} more, ${all.filter((i) => i.ready).length} ready`] : lines;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: a colour sequence starts with one
const PIECES = /\u001b\[[0-9;]*m|[\s\S]/gu;

/** Cuts to a width without counting or breaking colour sequences: a wrapped line would break the redraw. */
export function truncate(line: string, columns: number): string {
  let width = 0;
  let out = "";
  for (const piece of line.match(PIECES) ?? []) {
    if (piece.length > 1 && piece.startsWith("\u001b")) out += piece;
    else if (++width <= columns) out += piece;
  }
  return out;
}
