import { planRollback } from "../../domain/commands/rollback.ts";
import { lockOf } from "../../domain/rollout/lock.ts";
import { isActive, type ReleaseFacts } from "../../domain/rollout/release.ts";
import { type StaleSecret, staleSecrets } from "../../domain/secrets.ts";
import { moment } from "../../domain/times.ts";
import { closedWords } from "../../domain/windows.ts";
import type { EnvironmentView } from "../../protocol/api/environments.ts";
import type { NextStep } from "../../protocol/problem.ts";
import { iso, isoOrNull } from "../iso.ts";
import type { EnvironmentStatus, InstanceRow, ReleaseRow } from "../store/status.ts";
import { accessoryViews } from "./accessory.ts";
import { processViews } from "./processes.ts";
import { pausedNext, type ReleaseContext, releaseView } from "./release.ts";
import { instanceView, isAnswering } from "./rows.ts";

/** An environment's status as the API's resource. */
export function environmentView(status: EnvironmentStatus, context: ReleaseContext): EnvironmentView {
  const { app, environment, releases, instances } = status;
  const { live } = context;
  const view = (release: ReleaseRow | undefined) =>
    release ? releaseView({ app, environment, release, instances: of(release) }, context) : null;
  const of = (release: ReleaseRow) => instances.filter((instance) => instance.releaseId === release.id);
  const active = releases.find(({ state }) => isActive(state) || state === "rolling_back");
  const lock = lockOf(factsOf(status), context.now);
  return {
    app,
    environment: environment.name,
    hostnames: [...status.hostnames],
    routes: [...status.routes],
    strategy: environment.spec.strategy.kind,
    replicas: environment.spec.replicas,
    split: releases
      .filter((release) => release.weightBp > 0)
      .map((release) => ({
        release: release.id,
        version: release.version,
        weight: release.weightBp / 100,
        ready: of(release).filter((one) => isAnswering(one, context.now)).length,
        instances: of(release).length,
      })),
    active: view(active),
    queued: releases
      .filter(({ state }) => state === "queued")
      .map(({ id, version }) => ({ release: id, version })),
    live: view(releases.find(({ id }) => id === environment.stableReleaseId)),
    lastFailed: view(releases.slice(0, 1).find(({ state }) => UNDONE.has(state))),
    instances: instances.map((one) => instanceView(one, context.now)),
    accessories: accessoryViews(environment.spec, status.accessories, context.now),
    processes: processViews(status),
    lock: lock && { ...lock, since: iso(lock.since), expiresAt: iso(lock.expiresAt) },
    table: { version: live.table.version, publishedAt: isoOrNull(live.table.publishedAt) },
    mode: environment.mode.kind,
    rollback: rollbackView(status, context.now),
    ending: environment.ending && { at: iso(environment.ending.at), by: environment.ending.by },
    staleSecrets: staleOf(status).map((secret) => ({
      name: secret.name,
      setAt: isoOrNull(secret.setAt),
      instances: [...secret.instances],
      kept: [...secret.kept],
      accessories: [...secret.accessories],
    })),
    closed: closedWords(status.environment.spec.rules, context.now),
    next: environmentNext(status, active, context.now),
  };
}

/** Ends of a release that leave an older one serving. */
const UNDONE = new Set<ReleaseRow["state"]>(["failed", "aborted", "rolled_back"]);

/** One that drains or is warm is there only for a rollback; one that stops counts no more. */
const KEPT = new Set<InstanceRow["state"]>(["draining", "warm"]);

function staleOf({ secrets, instances, accessories }: EnvironmentStatus): StaleSecret[] {
  const running = instances.filter(({ state }) => state !== "stopping");
  return staleSecrets(secrets, [
    ...running.map(({ id, state, secretVersions }) => ({
      kind: KEPT.has(state) ? ("kept" as const) : ("instance" as const),
      id,
      versions: secretVersions,
    })),
    ...accessories.map(({ name, secretVersions }) => ({
      kind: "accessory" as const,
      id: name,
      versions: secretVersions,
    })),
  ]);
}

/** What a rollback would do now: the same decision that takes it, so that the two can't differ. */
function rollbackView(status: EnvironmentStatus, now: number): EnvironmentView["rollback"] {
  const facts = factsOf(status);
  const plan = planRollback(facts, { to: null }, now);
  if (!plan.ok) return { possible: false, how: null, from: null, to: null, reason: plan.error.detail };
  const { how, from, to, prove, lacks, ongoing } = plan.value;
  return {
    possible: true,
    how,
    from: { release: from.id, version: from.version },
    to: { release: to.id, version: to.version },
    reason: why(),
  };

  function why(): string {
    if (ongoing) return `${ongoing.version} is on its way and brings it back`;
    if (how === "restart") return `${lacks ?? to.version}: its image would be started again`;
    if (from.state === "shifting")
      return `${to.version} still serves, and takes back what ${from.version} has`;
    // Past it what runs stays until no edge can lead anybody there.
    const kept = (to.warmUntil ?? 0) <= now ? "" : `, kept until ${moment(to.warmUntil ?? 0)}`;
    return `${to.version} still has ${prove.length} ready ${prove.length === 1 ? "instance" : "instances"}${kept}`;
  }
}

/** What status and commands decide from alike. */
function factsOf({ environment, releases, instances }: EnvironmentStatus) {
  const { fence, held, stableReleaseId } = environment;
  // `failure` is the domain's own value, stored as JSON.
  return { fence, held, stableReleaseId, releases: releases as readonly ReleaseFacts[], instances };
}

function environmentNext(status: EnvironmentStatus, active: ReleaseRow | undefined, now: number): NextStep[] {
  const at = `-a ${status.app} -e ${status.environment.name}`;
  const open = { command: `sluice maintenance off ${at}`, when: "visitors are to be let in again" };
  const shut = status.environment.mode.kind === "open" ? [] : [open];
  if (active?.paused) return [...shut, ...pausedNext(active)];
  if (active) return [...shut, { command: `sluice watch ${active.id}`, when: `to follow ${active.version}` }];
  const first = [...shut, ...handOutAgain(status, at)];
  const split = status.releases.filter(({ weightBp }) => weightBp > 0);
  const [newest] = split;
  if (!newest) return [...first, { command: `sluice deploy ${at}`, when: "nothing serves here yet" }];
  if (split.length > 1) {
    const when = `${newest.version} should have all traffic`;
    return [...first, { command: `sluice weight ${newest.version}=100 ${at}`, when }];
  }
  if (rollbackView(status, now).possible) {
    return [...first, { command: `sluice rollback ${at}`, when: "to go back to the release before" }];
  }
  const mend = "to mend something: there is nothing older to go back to";
  return [...first, { command: `sluice deploy ${at}`, when: mend }];
}

/** A new release of the very image that serves: the way to give it what was set since. */
function handOutAgain(status: EnvironmentStatus, at: string): NextStep[] {
  const names = staleOf(status).flatMap(({ name, instances }) => (instances.length > 0 ? [name] : []));
  const live = status.releases.find(({ id }) => id === status.environment.stableReleaseId);
  if (names.length === 0 || !live) return [];
  const step = {
    command: `sluice deploy ${at} --current`,
    when: `to hand out the new ${names.join(", ")}`,
  };
  return [step];
}
