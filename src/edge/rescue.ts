/**
 * Sends a request again when the first instance failed it: the visitor sees no error, the instance is charged with one.
 * Nothing that an app may have seen and acted on is sent twice.
 */

import { isSafe, judge } from "../domain/routing/attempt.ts";
import { chooseRescue, type RouteInstance, type RouteRelease } from "../domain/routing/choose.ts";
import { afterFailure, afterSuccess, HEALTHY } from "../domain/routing/ejection.ts";
import { fullBudget, type RetryBudget, spend } from "../domain/routing/retry-budget.ts";
import { forward, type Outgoing, type Tried } from "./forward.ts";
import { originHeaders } from "./headers.ts";
import { logWarning } from "./log.ts";
import type { Passage } from "./passage.ts";
import type { Visit } from "./visit.ts";

const KEPT_BODY_BYTES = 64 * 1024;
const MOST_RETRIES = 2;

/** Per environment in this isolate. Requests since the last spending earn their share when it is next asked. */
const budgets = new Map<string, { budget: RetryBudget; requests: number }>();

export interface Delivery {
  readonly first: Tried;
  /** The attempt whose answer the visitor gets. */
  readonly last: Tried;
  readonly attempts: readonly Tried[];
}

/** Forwards to the passage's instance, and on to others when that fails. */
export async function deliver({ visit, instance, isPinned }: Passage): Promise<Delivery> {
  const budget = budgetOf(visit);
  budget.requests += 1;
  const kept = keepBody(visit);
  const body = kept instanceof Promise ? await kept : kept;
  if (body === "broken-off") return undelivered(instance, visit);
  const outgoing: Outgoing = { headers: originHeaders(visit), body };
  const first = await forward(visit, instance, outgoing);
  note(first, visit);
  const attempts = [first];
  let last = first;
  while (last.verdict.error && attempts.length <= MOST_RETRIES && mayResend(visit, last, outgoing)) {
    const tried = attempts.map((attempt) => attempt.instance);
    const next = chooseRescue(
      visit.route,
      { tried, isPinned, attempt: attempts.length },
      attempts.length,
      Date.now(),
    );
    if (next === null || !pay(budget)) break;
    // Nobody reads the failed answer; that it can't even be cancelled changes nothing.
    last.response?.body?.cancel().catch(() => {});
    last = await forward(visit, next, outgoing);
    note(last, visit);
    attempts.push(last);
  }
  return { first, last, attempts };
}

/** The visitor left before there was anything to send. */
function undelivered(instance: RouteInstance, { arrivedAt }: Visit): Delivery {
  const attempt = { kind: "broken-off" } as const;
  const endedAt = Date.now();
  const durationMs = endedAt - arrivedAt;
  const first: Tried = { instance, attempt, verdict: judge(attempt), response: null, durationMs, endedAt };
  return { first, last: first, attempts: [first] };
}

/** Ejection's bookkeeping: the health of an instance, as this isolate sees it. */
function note(tried: Tried, visit: Visit): void {
  const { instance, verdict } = tried;
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

function othersOf(instance: RouteInstance, release: RouteRelease) {
  return release.instances.filter((other) => other !== instance && other.ready).map((other) => other.health);
}

/** Small bodies of declared length are read in, so that they can be sent again; all others stream and can't. */
function keepBody({ request, survey }: Visit): Outgoing["body"] | Promise<ArrayBuffer | "broken-off"> {
  if (request.body === null) return null;
  const { contentLength } = survey;
  const isKept = contentLength !== null && contentLength <= KEPT_BODY_BYTES;
  if (!isKept || request.method === "GET" || request.method === "HEAD") return "stream";
  return request.arrayBuffer().catch(() => "broken-off");
}

function mayResend({ request, survey }: Visit, tried: Tried, outgoing: Outgoing): boolean {
  const { resend } = tried.verdict;
  if (resend === "never" || outgoing.body === "stream") return false;
  return resend === "any" || (isSafe(request.method) && !survey.isUpgrade);
}

function budgetOf(visit: Visit): { budget: RetryBudget; requests: number } {
  const { environment } = visit.route.table;
  let held = budgets.get(environment);
  if (held === undefined) {
    held = { budget: fullBudget(visit.arrivedAt), requests: 0 };
    budgets.set(environment, held);
  }
  return held;
}

function pay(held: { budget: RetryBudget; requests: number }): boolean {
  const rest = spend(held.budget, held.requests, Date.now());
  if (rest === null) return false;
  held.budget = rest;
  held.requests = 0;
  return true;
}
