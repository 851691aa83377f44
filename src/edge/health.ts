/** Ejection's bookkeeping: the health of instances as this isolate sees it. */
import type { RouteInstance, RouteRelease } from "../domain/routing/choose.ts";
import { afterFailure, afterSuccess, FAILURES_TO_EJECT, HEALTHY } from "../domain/routing/ejection.ts";
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
  const { health } = instance;
  const until = `no new ones for ${health.ejectedUntil - now} ms`;
  if (health.ejections > ejections) tell("instance.ejected", visit, instance, until);
  // Once in a row of failures: nobody would hear of the last ones that there are.
  else if (health.failures === FAILURES_TO_EJECT)
    tell("instance.failing", visit, instance, "too few others are left to do without it");
}

function othersOf(instance: RouteInstance, release: RouteRelease) {
  return release.instances.filter((other) => other !== instance && other.ready).map((other) => other.health);
}

function tell(
  event: "instance.ejected" | "instance.failing",
  { survey, hostname, route }: Visit,
  { id, release }: RouteInstance,
  consequence: string,
): void {
  logWarning(event, {
    request: survey.requestId,
    hostname,
    environment: route.table.environment,
    release: release.id,
    instance: id,
    detail: `it failed this request and others before: ${consequence}`,
  });
}
