/** Ejection's bookkeeping: the health of instances as this isolate sees it. */
import type { RouteInstance, RouteRelease } from "../domain/routing/choose.ts";
import { afterFailure, afterSuccess, HEALTHY } from "../domain/routing/ejection.ts";
import type { Tried } from "./forward.ts";
import { logWarning } from "./log.ts";
import type { Visit } from "./visit.ts";

/** Notes what an attempt says about its instance. */
export function note({ instance, verdict }: Tried, visit: Visit): void {
  if (!verdict.isTrial) return;
  if (!verdict.unhealthy && instance.health === HEALTHY) return;
  const now = Date.now();
  if (!verdict.unhealthy) {
    instance.health = afterSuccess(instance.health, now);
    return;
  }
  const { ejections } = instance.health;
  instance.health = afterFailure(instance.health, othersOf(instance, instance.release), now);
  if (instance.health.ejections > ejections) logEjection(visit, instance, now);
}

function othersOf(instance: RouteInstance, release: RouteRelease) {
  return release.instances.filter((other) => other !== instance && other.ready).map((other) => other.health);
}

function logEjection(
  { survey, hostname, route }: Visit,
  { id, release, health }: RouteInstance,
  now: number,
): void {
  logWarning("instance.ejected", {
    request: survey.requestId,
    hostname,
    environment: route.table.environment,
    release: release.id,
    instance: id,
    detail: `it failed this request and others before: no new ones for ${health.ejectedUntil - now} ms`,
  });
}
