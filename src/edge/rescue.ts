/**
 * Sends a request again when the first instance failed it: the visitor sees no error, the instance is charged with one.
 * Nothing that an app may have seen and acted on is sent twice.
 */

import { isSafe } from "../domain/routing/attempt.ts";
import { chooseRescue, type RouteInstance, type RouteRelease } from "../domain/routing/choose.ts";
import { afterFailure, afterSuccess, HEALTHY } from "../domain/routing/ejection.ts";
import { fullBudget, type RetryBudget, spend } from "../domain/routing/retry-budget.ts";
import { forward, type Outgoing, type Tried } from "./forward.ts";
import { originHeaders } from "./headers.ts";
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
  const outgoing: Outgoing = { headers: originHeaders(visit), body };
  const first = await forward(visit, instance, outgoing);
  note(first);
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
    note(last);
    attempts.push(last);
  }
  return { first, last, attempts };
}

/** Ejection's bookkeeping: the health of an instance, as this isolate sees it. */
function note(tried: Tried): void {
  const { instance, verdict } = tried;
  if (!verdict.unhealthy && instance.health === HEALTHY) return;
  const now = Date.now();
  if (!verdict.unhealthy) {
    instance.health = afterSuccess(instance.health, now);
    return;
  }
  instance.health = afterFailure(instance.health, othersOf(instance, instance.release), now);
}

function othersOf(instance: RouteInstance, release: RouteRelease) {
  return release.instances.filter((other) => other !== instance && other.ready).map((other) => other.health);
}

/** Small bodies of declared length are read in, so that they can be sent again; all others stream and can't. */
function keepBody({ request, survey }: Visit): Outgoing["body"] | Promise<ArrayBuffer> {
  if (request.body === null) return null;
  const { contentLength } = survey;
  const isKept = contentLength !== null && contentLength <= KEPT_BODY_BYTES;
  return isKept && request.method !== "GET" && request.method !== "HEAD" ? request.arrayBuffer() : "stream";
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
