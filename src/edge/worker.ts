/** The edge: table → release → instance → forward → count. Nothing but the origin is asked for a routed request. */
import {
  chooseFallback,
  chooseInstance,
  chooseRelease,
  type Route,
  type RouteInstance,
} from "../domain/choose.ts";
import { cookieValue, PREVIEW_COOKIE } from "../domain/cookie.ts";
import { normalHostname, splitUrl } from "../domain/hostname.ts";
import { answer } from "./answer.ts";
import type { Env } from "./env.ts";
import { type ErrorAnswer, errorAnswer } from "./error-answer.ts";
import { type Survey, surveyHeaders } from "./headers.ts";
import { Meter } from "./meter.ts";
import { mirror } from "./mirror.ts";
import { waitForOpen } from "./mode.ts";
import { openPreview } from "./preview.ts";
import { deliver } from "./rescue.ts";
import { type Lookup, Tables } from "./table.ts";
import type { Visit, Visitor } from "./visit.ts";
import { identify } from "./visitor.ts";

const tables = new Tables();
const meter = new Meter();
/** Rotates over a release's instances. */
let turn = 0;

export default {
  async fetch(request, env, ctx): Promise<Response> {
    const survey = surveyHeaders(request.headers);
    try {
      return await serve(request, env, ctx, survey);
    } catch (error) {
      console.error(`request ${survey.requestId} failed in the edge:`, error);
      return errorAnswer(request, survey.requestId, EDGE_FAILED);
    }
  },
} satisfies ExportedHandler<Env>;

async function serve(request: Request, env: Env, ctx: ExecutionContext, survey: Survey): Promise<Response> {
  const arrivedAt = Date.now();
  const url = splitUrl(request.url);
  const hostname = normalHostname(url.authority);
  const found: Lookup = tables.fresh(hostname, arrivedAt) ?? (await tables.find(hostname, env, ctx));
  if (found === "unknown") return errorAnswer(request, survey.requestId, unknownHostname(hostname));
  if (found === "unavailable") return errorAnswer(request, survey.requestId, tableUnavailable(hostname));
  const visit: Visit = { request, env, ctx, url, hostname, survey, arrivedAt, route: found };
  const token = previewToken(visit);
  if (token !== null) return servePreview(visit, token);
  if (found.table.mode.kind === "open") return serveVisitor(visit);
  const opened = await waitForOpen(visit, tables);
  return "status" in opened
    ? errorAnswer(request, survey.requestId, opened)
    : serveVisitor({ ...visit, route: opened });
}

async function serveVisitor(visit: Visit): Promise<Response> {
  const visitor = identify(visit);
  const chosen = chooseRelease(visit.route, visitor, visit.arrivedAt);
  if (chosen === null) return errorAnswer(visit.request, visit.survey.requestId, noRelease(visit.route));
  turn += 1;
  const instance = chooseInstance(chosen, turn, visit.arrivedAt);
  if (instance !== null) return send(visit, visitor, instance, true);
  return serveWithoutChoice(visit, visitor);
}

/** The chosen release has no usable instance: look for a newer table, then take whoever can carry the request. */
async function serveWithoutChoice(stale: Visit, visitor: Visitor): Promise<Response> {
  const found = await tables.refreshed(stale.hostname, stale.env, stale.ctx);
  const visit = typeof found === "string" ? stale : { ...stale, route: found };
  const now = Date.now();
  const chosen = chooseRelease(visit.route, visitor, now);
  const own = chosen && chooseInstance(chosen, turn, now);
  if (own !== null) return send(visit, visitor, own, true);
  const other = chosen && chooseFallback(visit.route, chosen, turn, now);
  if (other !== null) return send(visit, visitor, other, false);
  return errorAnswer(visit.request, visit.survey.requestId, noInstance(visit.route));
}

async function send(
  visit: Visit,
  visitor: Visitor,
  instance: RouteInstance,
  dealt: boolean,
): Promise<Response> {
  const delivery = await deliver(visit, instance, false);
  meter.count(visit, visitor, delivery, dealt && visitor.eligible);
  const response = answer(visit, delivery, visitor.newId);
  if (visit.route.table.mirror !== null) mirror(visit, meter, instance.release, response.status);
  return response;
}

/** Preview goes where its token says or nowhere, at any weight and in any mode. */
async function servePreview(visit: Visit, token: string): Promise<Response> {
  const opened = await openPreview(visit.route, visit.hostname, token);
  if (!opened.ok) return errorAnswer(visit.request, visit.survey.requestId, previewRefused(opened.error));
  const { release, instance } = opened.value;
  turn += 1;
  const target = instance ?? chooseInstance(release, turn, visit.arrivedAt) ?? release.instances[0];
  if (target === undefined)
    return errorAnswer(visit.request, visit.survey.requestId, noInstance(visit.route));
  const delivery = await deliver(visit, target, true);
  meter.count(visit, { bucket: 0, eligible: false, newId: null }, delivery, false);
  return answer(visit, delivery, null);
}

function previewToken(visit: Visit): string | null {
  const { preview, cookies } = visit.survey;
  return preview ?? (cookies?.includes(PREVIEW_COOKIE) ? cookieValue(cookies, PREVIEW_COOKIE) : null);
}

const EDGE_FAILED: ErrorAnswer = {
  status: 500,
  code: "edge_failed",
  title: "The request could not be handled",
  detail: "The edge failed on this request. It is logged under the request id; trying again may help.",
};

const unknownHostname = (hostname: string): ErrorAnswer => ({
  status: 404,
  code: "hostname_unknown",
  title: "Nothing is served here",
  detail: `No app has the hostname ${hostname}. If it should have: name it in the app's sluice.yaml and apply that.`,
});

const tableUnavailable = (hostname: string): ErrorAnswer => ({
  status: 503,
  code: "table_unavailable",
  title: "Not available just now",
  detail: `The routing table of ${hostname} could be had neither from the control plane nor from its copies.`,
  retryAfterS: 2,
});

const noRelease = ({ table }: Route): ErrorAnswer => ({
  status: 503,
  code: "no_release",
  title: "Nothing is live here yet",
  detail: `${table.app} has no live release in ${table.environmentName}. Deploy one with: sluice deploy`,
  retryAfterS: 5,
});

const noInstance = ({ table }: Route): ErrorAnswer => ({
  status: 503,
  code: "no_instance",
  title: "Not available just now",
  detail: `No release of ${table.app} in ${table.environmentName} has an instance to send this request to.`,
  retryAfterS: 5,
});

const previewRefused = (reason: string): ErrorAnswer => ({
  status: 403,
  code: "preview_refused",
  title: "Preview refused",
  detail: `This preview can't be shown: ${reason}. Without the token (its cookie is deleted now) the live release answers.`,
  setCookie: `${PREVIEW_COOKIE}=; Path=/; Max-Age=0`,
});
