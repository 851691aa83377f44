import { visitorCookie } from "../domain/routing/cookie.ts";
import { errorAnswer } from "./error-answer.ts";
import { brokenOff, UPLOAD_TOO_SLOW } from "./error-causes.ts";
import type { Tried } from "./forward.ts";
import { isPublic, publishHeaders } from "./headers.ts";
import type { Passage } from "./passage.ts";
import type { Delivery } from "./rescue.ts";
import type { Visit } from "./visit.ts";

/** The visitor's answer: the app's, with what the edge has to add, or in words why there is none. */
export function answer(passage: Passage, delivery: Delivery): Response {
  const { visit, visitor } = passage;
  const { last } = delivery;
  const { response, attempt } = last;
  if (response === null || attempt.kind !== "answered")
    return errorAnswer(visit.request, visit.survey.requestId, failureOf(visit, last));
  const { status } = attempt;
  if (status === 101) return switched(response, passage, last);
  // A status outside what a Response can be made with goes through untouched.
  if (status < 200 || status > 599) return response;
  // Copying an answer costs more than all the choosing: where none are wanted, none are paid for.
  if (
    !isMarked(passage) &&
    visitor.newId === null &&
    passage.ignoredPreview === undefined &&
    isPublic(response.headers, status, visit)
  ) {
    return response;
  }
  const published = new Response(response.body, response);
  mark(published.headers, status, passage, last);
  return published;
}

/** A WebSocket's answer can't be made from the fetched one, only around its socket. */
function switched(response: Response, passage: Passage, last: Tried): Response {
  const headers = new Headers(response.headers);
  mark(headers, 101, passage, last);
  return new Response(null, { status: 101, headers, webSocket: response.webSocket });
}

function isMarked({ visit: { route, survey }, isPinned }: Passage): boolean {
  if (route.marks !== "rollout") return route.marks === "always";
  return route.isSplit || isPinned || survey.isTraced;
}

function mark(headers: Headers, status: number, passage: Passage, last: Tried): void {
  const { visit, visitor, ignoredPreview } = passage;
  publishHeaders(headers, status, visit);
  if (isMarked(passage)) {
    headers.set("x-sluice-release", last.instance.release.version);
    // An app that names its answers itself is asked by its own names.
    if (!headers.has("x-request-id")) headers.set("x-request-id", visit.survey.requestId);
    headers.append("server-timing", timing(visit, last));
  }
  if (visitor.newId !== null && !isShareable(headers, status))
    headers.append("Set-Cookie", visitorCookie(visitor.newId, visit.url.secure));
  if (ignoredPreview !== undefined) headers.set("x-sluice-preview-ignored", ignoredPreview);
}

/** One that caches may give to others, who are not to get this visitor's id with it. */
function isShareable(headers: Headers, status: number): boolean {
  if (status === 304) return true;
  const control = headers.get("cache-control");
  return control !== null && /\b(public|immutable|s-maxage)\b/i.test(control);
}

/** `sluice` is the edge's own time, failed attempts included; `origin` the time until the answer's head. */
function timing(visit: Visit, last: Tried): string {
  const own = last.endedAt - visit.arrivedAt - last.durationMs;
  return `sluice;dur=${own}, origin;dur=${last.durationMs}`;
}

function failureOf(visit: Visit, last: Tried) {
  const { table } = visit.route;
  const who = `${table.app} (${table.environmentName})`;
  if (last.attempt.kind === "timeout") {
    return {
      status: 504,
      code: "origin_timeout",
      title: "The app took too long",
      detail: `${who} sent no answer within ${table.timeouts.responseMs} ms (timeouts.response of its environment).`,
    } as const;
  }
  if (last.attempt.kind === "unsendable") {
    return {
      status: 400,
      code: "bad_request",
      title: "The request can't be forwarded",
      detail: `It is not one that can be sent on: ${last.attempt.reason}`,
    } as const;
  }
  if (last.attempt.kind === "broken-off")
    return last.attempt.isTooSlow ? UPLOAD_TOO_SLOW : brokenOff(visit.route);
  const cause =
    last.attempt.kind === "disconnected"
      ? "refused the connection, closed it without an answer, or gave one that is no valid HTTP (a folded header, say)"
      : `can't be reached through its tunnel${tunnelCause(last)}`;
  return {
    status: 502,
    code: "origin_unreachable",
    title: "The app can't be reached",
    detail: `${who} ${cause}. Instance ${last.instance.id} of ${last.instance.release.version}.`,
    retryAfterS: 1,
  } as const;
}

function tunnelCause(last: Tried): string {
  const code = last.attempt.kind === "answered" ? last.attempt.tunnelError : null;
  if (code === "1033") return ": no cloudflared is connected (error 1033)";
  return code === null ? "" : ` (error ${code})`;
}
