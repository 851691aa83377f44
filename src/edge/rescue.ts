/**
 * Sends a request again when the first instance failed it: the visitor sees no error, the instance is charged with one.
 * Nothing that an app may have seen and acted on is sent twice.
 */

import { chooseInstance, chooseRescue, type RouteInstance } from "../domain/routing/choose.ts";
import { TIMED_OUT, type TimedOut, within } from "./deadline.ts";
import { forward, type Outgoing, type Tried, triedOf } from "./forward.ts";
import { originHeaders } from "./headers.ts";
import { note } from "./health.ts";
import type { Passage } from "./passage.ts";
import { Budgets } from "./rescue/budget.ts";
import { isHedged, race } from "./rescue/hedge.ts";
import type { Lookup, Tables } from "./table.ts";
import type { Visit } from "./visit.ts";

export const KEPT_BODY_BYTES = 64 * 1024;
/** For all of it: 1 kB a second is the slowest sender that is waited for. */
const KEPT_BODY_DEADLINE_MS = 60_000;
const MOST_RETRIES = 2;
/** An error that is there is not held back for longer than this: stable may be slow, too. */
const STABLE_DEADLINE_MS = 10_000;

const budgets = new Budgets();

export interface Delivery {
  readonly first: Tried;
  /** The attempt whose answer the visitor gets. */
  readonly last: Tried;
  readonly attempts: readonly Tried[];
}

/** Forwards to the passage's instance, and on to others when that fails or is called unready meanwhile. */
export async function deliver(passage: Passage, tables: Tables): Promise<Delivery> {
  const { visit, instance } = passage;
  budgets.earn(visit);
  const kept = keepBody(visit);
  const body = kept instanceof Promise ? await kept : kept;
  if (body === "broken-off" || body === TIMED_OUT) return undelivered(instance, visit, body === TIMED_OUT);
  const outgoing: Outgoing = { headers: originHeaders(visit), body };
  const mayBeRecalled = visit.isHarmless && body === null && visit.route.table.rescue !== "off";
  if (mayBeRecalled) tables.waiting.watch(visit, tables);
  const attempts: Tried[] = [];
  /** Where a request that was called back goes: found, and paid for, when it was. */
  let reserved: RouteInstance | null = null;

  const send = (to: RouteInstance, signal?: AbortSignal): Promise<Tried> => {
    const asked = forward(visit, to, signal === undefined ? outgoing : { ...outgoing, signal });
    if (!mayBeRecalled) return asked;
    return tables.waiting.orRecalled(visit, { instance: to, asked }, (route) => {
      if (attempts.length >= MOST_RETRIES) return false;
      reserved = findRescue(passage, route, [...attempts.map((attempt) => attempt.instance), to]);
      return reserved !== null;
    });
  };

  const pay = () => budgets.pay(visit);
  let last = await (isHedged(passage) ? race(passage, attempts, { send, pay, unread }) : send(instance));
  while (true) {
    note(last, visit);
    attempts.push(last);
    if (!last.verdict.error || attempts.length > MOST_RETRIES) break;
    if (isStableAsked(passage, last, outgoing)) {
      last = (await askStable(passage, attempts, { tables, send })) ?? last;
      break;
    }
    if (!mayResend(visit, last, outgoing)) break;
    const next: RouteInstance | null = reserved ?? (await nextByNow(passage, attempts, tables));
    reserved = null;
    if (next === null) break;
    unread(last);
    last = await send(next);
  }
  return { first: attempts[0] ?? last, last, attempts };
}

/** The new release answered with an error of its own, or not in time, which stable may not have: the visitor need not see it. */
function isStableAsked(
  { visit, isPinned }: Passage,
  { verdict, instance }: Tried,
  outgoing: Outgoing,
): boolean {
  const { table, stable, isSplit } = visit.route;
  if (verdict.resend !== "never" || table.rescue !== "errors") return false;
  if (!isSplit || isPinned || outgoing.body !== null || !visit.isHarmless) return false;
  return visit.method !== "OPTIONS" && stable !== null && stable.id !== instance.release.id;
}

/** Stable's answer to what the last attempt failed, if it is a better one in time; null: the error stands. */
async function askStable(
  { visit, visitor }: Passage,
  attempts: Tried[],
  { tables, send }: { readonly tables: Tables; readonly send: (to: RouteInstance) => Promise<Tried> },
): Promise<Tried | null> {
  const failed = attempts.at(-1);
  const held = tables.fresh(visit.hostname, visit.url.target, Date.now());
  const stable = (held?.table.environment === visit.route.table.environment ? held : visit.route).stable;
  const errand = { turn: attempts.length, isResendable: true, now: Date.now(), keeper: visitor.keeper };
  const to = stable && chooseInstance(stable, errand);
  if (to === null || to.release.id === failed?.instance.release.id || !budgets.pay(visit)) return null;
  const asked = send(to);
  const tried = await within(asked, STABLE_DEADLINE_MS);
  if (tried === TIMED_OUT) {
    asked.then(unread, () => {});
    return null;
  }
  note(tried, visit);
  attempts.push(tried);
  if (tried.verdict.error) unread(tried);
  else if (failed) unread(failed);
  return tried.verdict.error ? null : tried;
}

/** Nobody reads its answer; that it can't even be cancelled changes nothing. */
export const unread = ({ response }: Tried): void => void response?.body?.cancel().catch(() => {});

/**
 * The next instance by the table of now: while the request waited, its release may have gone and another have come. When that
 * has nobody either, control is asked for a newer one.
 */
async function nextByNow(
  passage: Passage,
  attempts: readonly Tried[],
  tables: Tables,
): Promise<RouteInstance | null> {
  const { hostname, url, env, ctx } = passage.visit;
  const tried = attempts.map((attempt) => attempt.instance);
  const held =
    tables.fresh(hostname, url.target, Date.now()) ?? (await tables.find(hostname, url.target, env, ctx));
  return (
    findRescue(passage, held, tried) ??
    findRescue(passage, await tables.refreshed(hostname, url.target, env, ctx), tried)
  );
}

/** Somebody to send it to again, who is paid for; null: nobody is left, or the budget is spent. */
function findRescue(
  { visit, visitor, isPinned }: Passage,
  found: Lookup,
  tried: readonly RouteInstance[],
): RouteInstance | null {
  // A hostname that went to another environment takes no requests of this one along.
  const isOwn = typeof found !== "string" && found.table.environment === visit.route.table.environment;
  const { keeper } = visitor;
  const errand = { turn: tried.length, isResendable: visit.isHarmless, now: Date.now(), keeper };
  const next = chooseRescue(isOwn ? found : visit.route, { tried, isPinned }, errand);
  return next !== null && budgets.pay(visit) ? next : null;
}

/** The visitor left, or took too long, before there was anything to send. */
function undelivered(instance: RouteInstance, visit: Visit, isTooSlow: boolean): Delivery {
  const first = triedOf(instance, { kind: "broken-off", isTooSlow }, null, visit.arrivedAt);
  return { first, last: first, attempts: [first] };
}

/** The body as it can be sent; or the visitor left, or took too long, before it was there. */
type Kept = Outgoing["body"] | "broken-off" | TimedOut;

/** Small bodies of declared length are read in, so that they can be sent again; all others stream and can't. */
function keepBody({ request, method, survey }: Visit): Kept | Promise<Kept> {
  const { contentLength } = survey;
  // The runtime calls a declared body of no bytes a stream; there is nothing in it that could not be sent twice.
  if (request.body === null || contentLength === 0) return null;
  if (contentLength === null || contentLength > KEPT_BODY_BYTES) return "stream";
  if (method === "GET" || method === "HEAD") return "stream";
  return within(request.arrayBuffer(), KEPT_BODY_DEADLINE_MS).catch(() => "broken-off");
}

function mayResend({ isHarmless, route }: Visit, tried: Tried, outgoing: Outgoing): boolean {
  const { resend } = tried.verdict;
  if (route.table.rescue === "off" || resend === "never" || outgoing.body === "stream") return false;
  return resend === "any" || isHarmless;
}
