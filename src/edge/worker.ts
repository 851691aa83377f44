/** The edge: table → release → instance → forward → count. Nothing but the origin is asked for a routed request. */
import { isSafe } from "../domain/routing/attempt.ts";
import { normalHostname, splitUrl } from "../domain/routing/hostname.ts";
import { answer } from "./answer.ts";
import { Skew } from "./assets/skew.ts";
import type { Env } from "./env.ts";
import { errorAnswer } from "./error-answer.ts";
import { EDGE_FAILED, tableUnavailable, USER_IN_HOST, unknownHostname } from "./error-causes.ts";
import { surveyHeaders } from "./headers.ts";
import { logError } from "./log.ts";
import { Meter } from "./meter.ts";
import { mirror } from "./mirror.ts";
import { choosePassage } from "./passage.ts";
import { deliver } from "./rescue.ts";
import { guard, isShielded } from "./shield.ts";
import { hold } from "./sockets.ts";
import { Tables } from "./table.ts";
import type { Visit } from "./visit.ts";

const tables = new Tables();
const meter = new Meter();
const skew = new Skew();

export default {
  /** One function, since each promise between the request and its forward costs as much as the choice. */
  async fetch(request, env, ctx): Promise<Response> {
    const survey = surveyHeaders(request.headers);
    try {
      const arrivedAt = Date.now();
      const url = splitUrl(request.url);
      const hostname = normalHostname(url.authority);
      if (isShielded(hostname, env)) return await guard(request, hostname, env);
      if (url.authority.includes("@")) return errorAnswer(request, survey.requestId, USER_IN_HOST);
      const route =
        tables.fresh(hostname, url.target, arrivedAt) ?? (await tables.find(hostname, url.target, env, ctx));
      if (route === "unknown") return errorAnswer(request, survey.requestId, unknownHostname(hostname));
      if (route === "unavailable") return errorAnswer(request, survey.requestId, tableUnavailable(hostname));
      const { method } = request;
      const isHarmless = isSafe(method) && !survey.isUpgrade;
      const visit: Visit = {
        request,
        method,
        isHarmless,
        env,
        ctx,
        url,
        hostname,
        survey,
        arrivedAt,
        route,
      };
      const choice = choosePassage(visit, tables);
      const passage = choice instanceof Promise ? await choice : choice;
      if (passage instanceof Response) return passage;
      const found = skew.remembered(passage);
      const elsewhere = found && (await found);
      const delivery = elsewhere ?? (await meter.timed(passage, deliver(passage, tables)));
      meter.count(elsewhere ? { ...passage, isDealt: false } : passage, delivery);
      const patched = elsewhere ? null : skew.patched(passage, delivery);
      const served = patched ? await patched : delivery;
      const response = hold(passage, served.last.instance, answer(passage, served), tables);
      if (route.table.mirror !== null && !passage.isPinned) mirror(passage, meter);
      return response;
    } catch (error) {
      logError("request.failed", error, { request: survey.requestId });
      return errorAnswer(request, survey.requestId, EDGE_FAILED);
    }
  },
} satisfies ExportedHandler<Env>;
