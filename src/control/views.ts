import { planRollback } from "../domain/commands.ts";
import { type EnvironmentFacts, HOST_OFFLINE_MS } from "../domain/facts.ts";
import { stepsOf } from "../domain/plan.ts";
import { isActive } from "../domain/release.ts";
import type {
  EnvironmentView,
  EventView,
  HostView,
  InstanceView,
  PlanView,
  ReleaseView,
  TokenView,
} from "../protocol/api.ts";
import { EVENT_TYPES, failureSchema } from "../protocol/api.ts";
import type { NextStep } from "../protocol/problem.ts";
import type { CoordinatorView } from "./coordinator-port.ts";
import type { EventRow } from "./store/events.ts";
import type { HostStatus } from "./store/hosts.ts";
import type { EnvironmentStatus, InstanceRow, ReleaseRow, ReleaseStatus } from "./store/status.ts";
import type { TokenRow } from "./store/tokens.ts";

/** Rows of the store as the API's resources: epoch ms become ISO times, basis points percent. */
export const iso = (ms: number): string => new Date(ms).toISOString();
const isoOrNull = (ms: number | null): string | null => (ms === null ? null : iso(ms));
const percent = (weightBp: number): number => weightBp / 100;

/** States in which an instance may answer requests. */
const UP = new Set(["ready", "serving", "draining", "warm"]);

export const isReady = (row: InstanceRow): boolean => UP.has(row.state) && row.reportState === "ready";

const instanceView = (row: InstanceRow): InstanceView => ({
  id: row.id,
  release: row.releaseId,
  version: row.version,
  host: row.hostName,
  slot: row.slot,
  state: row.state,
  ready: isReady(row),
  cause: row.reportCause ?? row.verifyCause,
  since: iso(row.stateSince),
});

export interface ReleaseContext {
  readonly live: CoordinatorView;
  readonly now: number;
}

export function releaseView(status: ReleaseStatus, { live, now }: ReleaseContext): ReleaseView {
  const { release, instances } = status;
  return {
    id: release.id,
    app: status.app,
    environment: status.environment.name,
    version: release.version,
    image: release.image,
    digest: release.digest,
    state: release.state,
    strategy: release.spec.strategy.kind,
    kind: release.kind,
    by: release.by,
    git: release.git,
    weight: percent(release.weightBp),
    step: release.stepIndex === null ? null : { index: release.stepIndex, of: stepsOf(release.spec).length },
    createdAt: iso(release.createdAt),
    startedAt: isoOrNull(release.startedAt),
    servingAt: isoOrNull(release.servingAt),
    endedAt: isoOrNull(release.endedAt),
    deadlineAt: isoOrNull(release.deadlineAt),
    warmUntil: isoOrNull(release.warmUntil),
    timings: release.timings,
    failure: failureView(release.failure),
    traffic: trafficSince(live, release, now),
    instances: instances.map(instanceView),
    plan: planOf(status),
    next: releaseNext(status),
  };
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

function planOf({ release, instances, environment }: ReleaseStatus): PlanView {
  const { spec } = release;
  const keep = `${Math.round(spec.keepMs / 1000)} s`;
  return {
    instances: instances.map(({ hostName, slot }) => ({ host: hostName, slot })),
    steps: stepsOf(spec).map(({ weightBp }) => ({ weight: percent(weightBp) })),
    replaces: null,
    keepMs: spec.keepMs,
    rollback:
      environment.stableReleaseId === null
        ? "the first release here: there is nothing to go back to"
        : `instant while the replaced instances are kept warm (${keep}), then by starting the old image again`,
    problems: [],
  };
}

function releaseNext({ app, environment, release }: ReleaseStatus): NextStep[] {
  const at = `-a ${app} -e ${environment.name}`;
  if (release.state === "queued" || isActive(release.state))
    return [
      { command: `sluice watch ${release.id}`, when: "to follow it" },
      { command: `sluice abort ${release.id}`, when: "to stop it; the release before it keeps the traffic" },
    ];
  if (release.state === "settling" || release.state === "live")
    return [{ command: `sluice rollback ${at}`, when: "to go back to the release before it" }];
  if (release.state === "failed")
    return [
      { command: `sluice deploy ${at}`, when: "the cause is mended" },
      { command: `sluice status ${at}`, when: "to see what serves meanwhile" },
    ];
  return [{ command: `sluice status ${at}`, when: "to see what serves now" }];
}

export function environmentView(status: EnvironmentStatus, context: ReleaseContext): EnvironmentView {
  const { app, environment, releases, instances } = status;
  const { live } = context;
  const view = (release: ReleaseRow | undefined) =>
    release ? releaseView({ app, environment, release, instances: of(release) }, context) : null;
  const of = (release: ReleaseRow) => instances.filter((instance) => instance.releaseId === release.id);
  const active = releases.find(({ state }) => isActive(state) || state === "rolling_back");
  return {
    app,
    environment: environment.name,
    hostnames: [...status.hostnames],
    strategy: environment.spec.strategy.kind,
    replicas: environment.spec.replicas,
    split: releases
      .filter((release) => release.weightBp > 0)
      .map((release) => ({
        release: release.id,
        version: release.version,
        weight: percent(release.weightBp),
        ready: of(release).filter(isReady).length,
        instances: of(release).length,
      })),
    active: view(active),
    queued: releases
      .filter(({ state }) => state === "queued")
      .map(({ id, version }) => ({ release: id, version })),
    live: view(releases.find(({ id }) => id === environment.stableReleaseId)),
    instances: instances.map(instanceView),
    lock: live.lock && {
      ...live.lock,
      since: iso(live.lock.since),
      expiresAt: iso(live.lock.expiresAt),
    },
    table: { version: live.table.version, publishedAt: isoOrNull(live.table.publishedAt) },
    rollback: rollbackView(status),
    next: environmentNext(status, active),
  };
}

/** What a rollback would do now: the same decision that takes it, so that the two can't differ. */
function rollbackView(status: EnvironmentStatus): EnvironmentView["rollback"] {
  const plan = planRollback(factsOf(status), null);
  if (!plan.ok) return { possible: false, how: null, to: null, reason: plan.error.detail };
  const { how, to, prove } = plan.value;
  const reason =
    how === "instant"
      ? `${to.version} still has ${prove.length} ready instances${to.warmUntil === null ? "" : `, kept until ${iso(to.warmUntil)}`}`
      : `${to.version} is not warm any more: its image would be started again`;
  return { possible: true, how, to: { release: to.id, version: to.version }, reason };
}

function factsOf({ app, environment, releases, instances }: EnvironmentStatus): EnvironmentFacts {
  return {
    id: environment.id,
    app,
    name: environment.name,
    spec: environment.spec,
    rev: environment.rev,
    fence: environment.fence,
    stableReleaseId: environment.stableReleaseId,
    nextVersion: environment.nextVersion,
    lock: null,
    // `failure` is the domain's own value, stored as JSON.
    releases: releases as EnvironmentFacts["releases"],
    instances,
    jobs: [],
    hosts: [],
  };
}

function environmentNext(status: EnvironmentStatus, active: ReleaseRow | undefined): NextStep[] {
  const at = `-a ${status.app} -e ${status.environment.name}`;
  if (active) return [{ command: `sluice watch ${active.id}`, when: `to follow ${active.version}` }];
  const split = status.releases.filter(({ weightBp }) => weightBp > 0);
  if (split.length === 0) return [{ command: `sluice deploy ${at}`, when: "nothing serves here yet" }];
  const [newest] = split;
  if (split.length > 1 && newest)
    return [
      {
        command: `sluice weight ${newest.version}=100 ${at}`,
        when: `${newest.version} should have all traffic`,
      },
    ];
  return [{ command: `sluice rollback ${at}`, when: "to go back to the release before" }];
}

export function hostView({ host, slots, instances }: HostStatus, now: number): HostView {
  const isOnline = host.lastSeenAt !== null && now - host.lastSeenAt < HOST_OFFLINE_MS;
  return {
    id: host.id,
    name: host.name.split("~")[0] ?? host.name,
    labels: host.labels,
    runtime: host.runtime,
    agentVersion: host.agentVersion,
    state: host.removedAt !== null ? "removed" : isOnline ? "online" : "offline",
    lastSeenAt: isoOrNull(host.lastSeenAt),
    clockSkewMs: host.clockSkewMs,
    slots: {
      total: slots.total,
      used: slots.used,
      reserved: slots.reserved,
      free: slots.total - slots.used - slots.reserved,
    },
    instances: instances.map(instanceView),
    createdAt: iso(host.createdAt),
  };
}

export const tokenView = (row: TokenRow): TokenView => ({
  id: row.id,
  name: row.name,
  role: row.role,
  app: row.app,
  environment: row.environment,
  createdAt: iso(row.createdAt),
  expiresAt: isoOrNull(row.expiresAt),
  revokedAt: isoOrNull(row.revokedAt),
  lastUsedAt: isoOrNull(row.lastUsedAt),
});

/** An event as readers know it. Undefined: a type that only a newer version knows. */
export function eventView(row: EventRow): EventView | undefined {
  const type = EVENT_TYPES.find((known) => known === row.type);
  if (type === undefined) return undefined;
  return {
    id: row.id,
    at: iso(row.at),
    type,
    actor: row.actor,
    app: row.app,
    environment: row.environment,
    release: row.releaseId,
    message: row.message,
    data: row.data,
  };
}
