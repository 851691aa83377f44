import { z } from "zod";
import { awaited } from "../../domain/approval/gate.ts";
import { workersOf } from "../../domain/processes/process.ts";
import { isActive } from "../../domain/rollout/release.ts";
import { begunStep, stepLabel, stepsOf } from "../../domain/rollout/steps.ts";
import { failureSchema } from "../../protocol/api/failures.ts";
import type { ReleaseView } from "../../protocol/api/releases.ts";
import type { VerdictView } from "../../protocol/api/verdicts.ts";
import type { NextStep } from "../../protocol/problem.ts";
import type { CoordinatorView } from "../environment/coordinator-port.ts";
import { iso, isoOrNull } from "../iso.ts";
import type { ReleaseRow, ReleaseStatus } from "../store/status.ts";
import type { VerdictRow } from "../store/verdicts.ts";
import { planOfRelease } from "./plan.ts";
import { instanceView } from "./rows.ts";

export interface ReleaseContext {
  readonly live: CoordinatorView;
  readonly now: number;
  /** The last stored verdict on it, where the judge has none at hand any more. */
  readonly lastVerdict?: VerdictRow | undefined;
}

/** A release as the API's resource. */
export function releaseView(status: ReleaseStatus, context: ReleaseContext): ReleaseView {
  const { release, instances, environment } = status;
  const views = instances.map((one) => instanceView(one, context.now));
  const slots = views.map(({ host, slot }) => ({ host, slot }));
  // Which release that was, a plan that is over doesn't tell: its words need no name.
  const before = environment.stableReleaseId === null ? null : { version: "the release before" };
  return {
    id: release.id,
    app: status.app,
    environment: environment.name,
    version: release.version,
    image: release.image,
    digest: release.digest,
    state: release.state,
    strategy: release.spec.strategy.kind,
    kind: release.kind,
    by: release.by,
    git: release.git,
    weight: release.weightBp / 100,
    step: stepOf(release),
    paused: release.paused && {
      ...release.paused,
      at: iso(release.paused.at),
      until: isoOrNull(release.paused.until),
    },
    approval: approvalOf(release),
    verdict: verdictOf(release, context),
    createdAt: iso(release.createdAt),
    startedAt: isoOrNull(release.startedAt),
    servingAt: isoOrNull(release.servingAt),
    endedAt: isoOrNull(release.endedAt),
    deadlineAt: isoOrNull(release.deadlineAt),
    warmUntil: isoOrNull(release.warmUntil),
    timings: release.timings,
    handsOver: release.state === "settling" && workersOf(release.spec).length > 0,
    failure: failureView(release.failure),
    failedRequest: failedRequestView(release.failedRequest, context.now),
    look: [...(release.smoke?.before?.look ?? [])],
    traffic: trafficSince(context.live, release, context.now),
    instances: views,
    plan: planOfRelease(release.spec, slots, before),
    next: releaseNext(status),
  };
}

function approvalOf(release: ReleaseRow): ReleaseView["approval"] {
  if (!release.approval) return null;
  const { gate, step, subject, needed, given, askedAt, deadlineAt } = release.approval;
  return {
    before: gate,
    step,
    digest: subject,
    needed,
    given: given.map(({ actor, at }) => ({ by: actor, at: iso(at) })),
    waits: awaited(release) !== undefined,
    askedAt: iso(askedAt),
    deadlineAt: iso(deadlineAt),
  };
}

/** A rolling release has no steps: its weight follows its instances. */
function stepOf({ spec, stepIndex: index, stepSince }: ReleaseRow): ReleaseView["step"] {
  const steps = stepsOf(spec);
  const step = index === null ? undefined : steps[index];
  if (index === null || !step) return null;
  return { index, of: steps.length, label: stepLabel(step), since: isoOrNull(stepSince) };
}

function verdictOf({ id }: ReleaseRow, { live, lastVerdict }: ReleaseContext): ReleaseView["verdict"] {
  const last = live.verdict?.release === id ? live.verdict : lastVerdict;
  if (!last) return null;
  const { verdict, reason, words, at } = last;
  return { verdict, reason, words, at: iso(at) };
}

/** `request`: the release's that lines were asked of, as {@link failedRequestView} has it. */
export const verdictView =
  (request: ReleaseView["failedRequest"] = null) =>
  ({ at, window, verdict, reason, words, numbers }: VerdictRow): VerdictView => ({
    at: iso(at),
    window: iso(window),
    verdict,
    reason,
    words,
    numbers,
    failedRequest: request && request.id === namedIn(numbers) ? request : null,
  });

const namedSchema = z.object({
  culprits: z.tuple([z.object({ failed: z.object({ id: z.string() }) })], z.unknown()),
});
/** The request that a verdict names. */
const namedIn = (numbers: unknown): string | undefined =>
  namedSchema.safeParse(numbers).data?.culprits[0].failed.id;

export function failedRequestView(
  request: ReleaseRow["failedRequest"],
  now: number,
): ReleaseView["failedRequest"] {
  if (!request) return null;
  const { id, route, host, found, until } = request;
  const waits = now < until ? "its log is being read" : `the lines of ${host} were not read in time`;
  return { id, route, host, lines: [...(found?.lines ?? [])], note: found ? found.note : waits };
}

function failureView(failure: unknown): ReleaseView["failure"] {
  if (failure === null) return null;
  const parsed = failureSchema.safeParse(failure);
  // A status page must not fail on a failure that an older version wrote otherwise.
  return parsed.success ? parsed.data : { code: "internal", message: JSON.stringify(failure), logs: [] };
}

/** All of the environment's requests since the release began, as far back as the coordinator keeps windows. */
function trafficSince(live: CoordinatorView, release: ReleaseRow, now: number): ReleaseView["traffic"] {
  if (release.startedAt === null) return { requests: 0, failed: 0 };
  const from = release.startedAt - 10_000;
  const to = release.endedAt ?? now;
  const windows = live.windows.filter(({ window }) => window > from && window <= to);
  const total = (of: "requests" | "failed") => windows.reduce((sum, window) => sum + window[of], 0);
  return { requests: total("requests"), failed: total("failed") };
}

function releaseNext({ app, environment, release }: ReleaseStatus): NextStep[] {
  const at = `-a ${app} -e ${environment.name}`;
  const { id, state } = release;
  const watch = { command: `sluice watch ${id}`, when: "to follow it" };
  const status = { command: `sluice status ${at}`, when: "to see what serves now" };
  if (awaited(release)) return approvalNext(release);
  if (release.paused) return pausedNext(release);
  if (state === "queued" || isActive(state))
    return [
      watch,
      { command: `sluice abort ${id}`, when: "to stop it; the release before it keeps the traffic" },
    ];
  if (state === "rolling_back") return [watch, status];
  if (state === "settling" || state === "live") {
    if (release.contractedAt === null)
      return [{ command: `sluice rollback ${at}`, when: "to go back to the release before it" }];
    const when = "to mend something: its contract migration is done, so nothing older can serve any more";
    return [{ command: `sluice deploy ${at}`, when }];
  }
  if (state === "failed" || state === "rolled_back")
    return [
      { command: `sluice deploy ${at}`, when: "the cause is mended" },
      ...(release.failure?.code.startsWith("analysis")
        ? [{ command: `sluice verdicts ${id}`, when: "to see the numbers it was judged by" }]
        : []),
      { ...status, when: "to see what serves meanwhile" },
    ];
  return [status];
}

/** What a release waits for that somebody else has to approve. */
function approvalNext({ id, version }: ReleaseRow): NextStep[] {
  return [
    { command: `sluice approve ${id}`, when: `${version} is to go on, and you did not start it` },
    { command: `sluice reject ${id}`, when: "it is not to go on" },
  ];
}

/** What a paused release waits for: a person's word. */
export function pausedNext(row: ReleaseRow): NextStep[] {
  const { id, version, paused } = row;
  const byPlan = paused?.by === "sluice";
  const step = row.stepIndex === null ? "" : ` --step ${begunStep(row) + 1}`;
  return [
    {
      command: `sluice promote ${id}${step}`,
      when: `${version} is to go on; it is paused: ${paused?.reason}`,
    },
    ...(byPlan
      ? []
      : [{ command: `sluice resume ${id}`, when: "to stay in its step and let it take its time" }]),
    { command: `sluice abort ${id}`, when: "it is not good: its traffic goes back" },
  ];
}
