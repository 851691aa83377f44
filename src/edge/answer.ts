import { visitorCookie } from "../domain/cookie.ts";
import { errorAnswer } from "./error-answer.ts";
import type { Tried } from "./forward.ts";
import { publishHeaders } from "./headers.ts";
import type { Delivery } from "./rescue.ts";
import type { Visit } from "./visit.ts";

/** The visitor's answer: the app's, with what the edge has to add, or in words why there is none. */
export function answer(visit: Visit, delivery: Delivery, newVisitorId: string | null): Response {
  const { last } = delivery;
  const { response } = last;
  if (response === null) return errorAnswer(visit.request, visit.survey.requestId, failureOf(visit, last));
  // A status outside what a Response can be made with goes through untouched.
  const isSwitch = response.webSocket !== null;
  if (!isSwitch && (response.status < 200 || response.status > 599)) return response;
  const published = isSwitch
    ? new Response(null, { status: 101, headers: response.headers, webSocket: response.webSocket })
    : new Response(response.body, response);
  const { headers } = published;
  publishHeaders(published, visit, last.instance.host);
  if (visit.route.table.showRelease) headers.set("X-Sluice-Release", last.instance.release.version);
  headers.set("X-Request-Id", visit.survey.requestId);
  headers.append("Server-Timing", timing(visit, last));
  if (newVisitorId !== null) headers.append("Set-Cookie", visitorCookie(newVisitorId, visit.url.secure));
  return published;
}

/** `sluice` is the edge's own time, failed attempts included; `origin` the time until the answer's head. */
function timing(visit: Visit, last: Tried): string {
  const own = Date.now() - visit.arrivedAt - last.durationMs;
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
  const cause =
    last.attempt.kind === "disconnected"
      ? "closed the connection without an answer, or refused it"
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
