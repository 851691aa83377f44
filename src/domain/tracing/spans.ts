import type { EnvironmentSpec } from "../spec.ts";
import { endOf, type OutcomeState } from "./outcome.ts";

/** A release's life as the spans of a trace, from what was written of it. Pure. */

export type Attributes = Readonly<Record<string, string | number | boolean | null | undefined>>;

export interface Span {
  /** Names it within its trace: its id is made from it. */
  readonly key: string;
  /** Key of the span that it is part of; null: it is the whole release. */
  readonly parent: string | null;
  readonly name: string;
  /** Epoch ms. */
  readonly start: number;
  readonly end: number;
  readonly attributes: Attributes;
  /** `ok` is said of releases alone: of a part nobody judges but whoever uses it. */
  readonly status: { readonly code: "unset" | "ok" } | { readonly code: "error"; readonly message: string };
  readonly notes: readonly Note[];
}

interface Note {
  readonly at: number;
  readonly text: string;
}

/** What was written of a release. Times are epoch ms. */
export interface Story {
  readonly app: string;
  readonly environment: string;
  readonly release: {
    readonly id: string;
    readonly version: string;
    readonly kind: string;
    readonly by: string;
    readonly image: string;
    readonly digest: string | null;
    readonly git: { readonly sha: string } | null;
    readonly spec: Pick<EnvironmentSpec, "strategy">;
    readonly createdAt: number;
    readonly smoke: Readonly<Record<"before" | "after", Smoke | undefined>> | null;
  };
  /** Oldest first. */
  readonly events: readonly StoryEvent[];
  readonly jobs: readonly StoryJob[];
  readonly probes: readonly StoryProbe[];
  readonly verdicts: readonly StoryVerdict[];
}

interface Smoke {
  readonly at: number;
  readonly failure: { readonly message: string } | null;
}

export interface StoryEvent {
  readonly id: number;
  readonly at: number;
  readonly type: string;
  readonly actor: string;
  readonly message: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface StoryJob {
  readonly id: string;
  readonly kind: string;
  readonly host: string;
  readonly instance: string | null;
  readonly hook: string | null;
  readonly attempts: number;
  readonly state: string;
  readonly error: { readonly code?: unknown; readonly message?: unknown } | null;
  readonly createdAt: number;
  readonly finishedAt: number | null;
}

/** An instance that was asked over its real path until it answered. */
export interface StoryProbe {
  readonly instance: string;
  readonly host: string;
  readonly verifiedAt: number | null;
  readonly cause: string | null;
}

export interface StoryVerdict {
  readonly window: number;
  readonly at: number;
  readonly verdict: string;
  readonly reason: string;
  readonly words: string;
}

export const ROOT = "release";
const UNSET = { code: "unset" } as const;
/** Of a job's progress. */
const MOST_NOTES = 50;

/**
 * The spans that ended with an event, or since the one before that told of this release: each is told once. With the first
 * such event comes the release itself. Empty: the event ends nothing.
 */
export function spansUntil(story: Story, eventId: number): Span[] {
  const ends = story.events.filter(endOf);
  const index = ends.findIndex(({ id }) => id === eventId);
  const last = ends[index];
  if (!last) return [];
  const after = ends[index - 1]?.at ?? Number.NEGATIVE_INFINITY;
  const states = statesOf(story);
  const steps = stepsOf(story, states);
  const parts = [
    ...states,
    ...steps,
    ...jobsOf(story, states),
    ...probesOf(story, states),
    ...smokesOf(story, states),
    ...verdictsOf(story, [...states, ...steps]),
  ];
  const told = parts.filter(({ end }) => end > after && end <= last.at);
  return index === 0 ? [rootOf(story, last), ...told] : told;
}

function rootOf({ release, app, environment }: Story, last: StoryEvent): Span {
  const outcome = endOf(last) ?? "live";
  const cause = causeIn(last);
  const isBad = outcome === "failed" || outcome === "rolled_back";
  return {
    key: ROOT,
    parent: null,
    name: `release ${app}/${environment}`,
    start: release.createdAt,
    end: last.at,
    attributes: {
      "sluice.app": app,
      "sluice.environment": environment,
      "sluice.release": release.id,
      "sluice.version": release.version,
      "sluice.kind": release.kind,
      "sluice.strategy": release.spec.strategy.kind,
      "sluice.actor": release.by,
      "sluice.image": release.image,
      "sluice.digest": release.digest,
      "sluice.outcome": OUTCOMES[outcome],
      "sluice.cause": cause?.code,
      "vcs.ref.head.revision": release.git?.sha,
      "deployment.environment.name": environment,
    },
    status: isBad ? failed(cause?.message ?? last.message) : outcome === "aborted" ? UNSET : { code: "ok" },
    notes: [],
  };
}

/** As `deployments_total` has it. One that gave way to a newer one before it served is no success, which its state tells. */
const OUTCOMES = {
  live: "success",
  failed: "failed",
  aborted: "aborted",
  superseded: "superseded",
  rolled_back: "rolled_back",
} as const satisfies Record<OutcomeState, string>;

/** One for each state it went through. Those in which it rests are none. */
function statesOf({ events }: Story): Span[] {
  const moves = events.filter(({ type }) => type === "release.state");
  return moves.flatMap((move, index) => {
    const next = moves[index + 1];
    const { state } = move.data;
    if (!next || typeof state !== "string" || RESTS.has(state)) return [];
    const span = part(`state ${state}`, `${move.id}`, move.at, next.at);
    const cause = causeIn(next);
    return [
      {
        ...span,
        parent: ROOT,
        attributes: {
          "sluice.state": state,
          "sluice.actor": move.actor,
          "sluice.next": String(next.data.state),
        },
        status: cause && next.data.state !== "aborted" ? failed(cause.message) : UNSET,
      },
    ];
  });
}

const RESTS: ReadonlySet<string> = new Set(["live", "superseded", "failed", "aborted", "rolled_back"]);

/** A step ends where the next one begins, or with the state. */
function stepsOf({ events }: Story, states: readonly Span[]): Span[] {
  const begun = events.filter(
    ({ type, data }) => type === "release.progress" && typeof data.step === "number",
  );
  return begun.flatMap((event, index) => {
    const within = around(states, event.at, "state shifting");
    if (!within) return [];
    const end = Math.min(within.end, begun[index + 1]?.at ?? within.end);
    const { step, of } = event.data;
    return [
      {
        ...part("step", `${event.id}`, event.at, end),
        parent: within.key,
        attributes: {
          "sluice.step": Number(step) + 1,
          "sluice.steps": Number(of),
          "sluice.detail": event.message,
        },
      },
    ];
  });
}

function jobsOf({ jobs, events }: Story, states: readonly Span[]): Span[] {
  return jobs.flatMap((job) => {
    if (job.finishedAt === null) return [];
    const name = job.hook === null ? `job ${job.kind}` : `hook ${job.hook}`;
    const said = events.filter(({ data }) => data.job === job.id).slice(-MOST_NOTES);
    return [
      {
        ...part(name, job.id, job.createdAt, job.finishedAt),
        key: jobKey(job.id),
        parent: around(states, job.createdAt)?.key ?? ROOT,
        attributes: {
          "sluice.job": job.id,
          "sluice.host": job.host,
          "sluice.instance": job.instance,
          "sluice.attempts": job.attempts,
          "sluice.outcome": job.state,
          "sluice.cause": typeof job.error?.code === "string" ? job.error.code : null,
        },
        status: job.state === "failed" ? failed(String(job.error?.message ?? "it failed")) : UNSET,
        notes: said.map(({ at, message }) => ({ at, text: message })),
      },
    ];
  });
}

/** What a job's span is called by, also by control as it hands the job out. */
export const jobKey = (job: string): string => `job ${job}`;

/** From when an instance was first asked until it answered. One that never did was asked as long as the state lasted. */
function probesOf({ probes }: Story, states: readonly Span[]): Span[] {
  const verifying = states.filter(({ name }) => name === "state verifying");
  return verifying.flatMap((state) =>
    probes.flatMap(({ instance, host, verifiedAt, cause }) => {
      const isSilent = verifiedAt === null && cause !== null;
      const end = isSilent ? state.end : verifiedAt;
      if (end === null || end < state.start || end > state.end) return [];
      return [
        {
          ...part("probe", `${state.key} ${instance}`, state.start, end),
          parent: state.key,
          attributes: { "sluice.instance": instance, "sluice.host": host },
          status: isSilent ? failed(cause) : UNSET,
        },
      ];
    }),
  );
}

function smokesOf({ release }: Story, states: readonly Span[]): Span[] {
  return (["before", "after"] as const).flatMap((when) => {
    const smoke = release.smoke?.[when];
    const within = smoke && around(states, smoke.at);
    if (!smoke || !within) return [];
    return [
      {
        ...part("smoke checks", when, within.start, smoke.at),
        key: smokeKey(when),
        parent: within.key,
        attributes: { "sluice.when": when },
        status: smoke.failure ? failed(smoke.failure.message) : UNSET,
      },
    ];
  });
}

export const smokeKey = (when: "before" | "after"): string => `smoke ${when}`;

/** Each judgement of a canary. */
function verdictsOf({ verdicts }: Story, spans: readonly Span[]): Span[] {
  return verdicts.flatMap(({ window, at, verdict, reason, words }) => {
    // The innermost, as steps come after states.
    const within = spans.findLast((span) => span.start <= at && at <= span.end);
    if (!within) return [];
    return [
      {
        ...part("judgement", `${window}`, Math.max(window, within.start), at),
        parent: within.key,
        attributes: { "sluice.verdict": verdict, "sluice.cause": reason, "sluice.detail": words },
        status: verdict === "rollback" ? failed(words) : UNSET,
      },
    ];
  });
}

const part = (name: string, of: string, start: number, end: number) => ({
  key: `${name} ${of}`,
  name,
  start: Math.min(start, end),
  end,
  status: UNSET as Span["status"],
  notes: [] as readonly Note[],
});

const around = (states: readonly Span[], at: number, name?: string): Span | undefined =>
  states.findLast((span) => span.start <= at && at <= span.end && (name === undefined || span.name === name));

const failed = (message: string) => ({ code: "error", message }) as const;

/** Why it went no further. */
function causeIn({ data }: StoryEvent): { code: string; message: string } | undefined {
  const { failure } = data;
  if (typeof failure !== "object" || failure === null) return undefined;
  if (!("code" in failure) || !("message" in failure)) return undefined;
  return { code: String(failure.code), message: String(failure.message) };
}
