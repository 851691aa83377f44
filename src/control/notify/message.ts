import { cut, firstSentence, type Notice, noticeOf, wants } from "../../domain/notify/notice.ts";
import { endOf } from "../../domain/tracing/outcome.ts";
import type { ControlEnv } from "../env.ts";
import { newId } from "../ids.ts";
import { iso } from "../iso.ts";
import type { NewDelivery, Untold } from "../store/notify/deliveries.ts";
import type { WebhookRow } from "../store/notify/webhooks.ts";
import type { Message, Source } from "./body.ts";
import { githubBody } from "./github/body.ts";
import type { TraceBody } from "./otlp/send-trace.ts";
import { slackBody } from "./slack.ts";
import { slackAppBody } from "./slack-blocks.ts";

/** What a target is to be sent of an event; undefined: it did not ask for it. */
export function deliveryFor(
  target: WebhookRow,
  untold: Untold,
  at: { env: ControlEnv; now: number },
): NewDelivery | undefined {
  const { event } = untold;
  if (event.id <= target.cursor) return undefined;
  const notice = noticeOf(event);
  if (!notice) return undefined;
  const isOwnTest = event.type === "webhook.test";
  if (isOwnTest ? event.data.webhook !== target.id : !wants(target, notice, event)) return undefined;
  if (target.kind === "slack" && !isOwnTest && !isLast(notice)) return undefined;
  // A channel of people: what programs are told beside that (tokens, hosts, apps) is in the audit log.
  const isReleases = /^release\.|\.alert$/.test(notice.type);
  if (target.kind === "slack_app" && !isOwnTest && !isReleases) return undefined;
  if (target.kind === "otlp" && !isOwnTest && !(event.releaseId !== null && endOf(event))) return undefined;
  const body = bodyFor(target, untold, { notice, env: at.env });
  if (body === undefined) return undefined;
  return {
    id: newId("msg", at.now),
    webhookId: target.id,
    eventId: event.id,
    type: notice.type,
    lane: event.releaseId ?? event.environmentId ?? "",
    body,
    createdAt: at.now,
    nextAttemptAt: at.now,
  };
}

/** Undefined: there is nothing to say of it there. */
function bodyFor(
  target: WebhookRow,
  untold: Untold,
  { notice, env }: { notice: Notice; env: ControlEnv },
): string | undefined {
  const { kind } = target;
  const { event, release } = untold;
  const isTest = event.type === "webhook.test";
  if (kind === "otlp")
    return JSON.stringify({ release: isTest ? null : event.releaseId } satisfies TraceBody);
  const message = messageOf(untold, notice, env);
  if (kind === "github" && !isTest) {
    const body = event.type === "release.state" && githubBody(message, { from: event.data.from }, target);
    return body ? JSON.stringify(body) : undefined;
  }
  if (kind === "github") return "null";
  if (kind === "slack_app") return JSON.stringify(slackAppBody(message, release));
  return kind === "slack" ? slackBody(message) : JSON.stringify(message);
}

/** With an address that can only add messages, Slack gets one at the end of a release, and one for each alert. */
const isLast = ({ type }: Notice): boolean =>
  /^(?:release\.(?:live|failed|aborted|rolled_back)|.+\.alert)$/.test(type);

function messageOf({ event, release, hostname }: Untold, notice: Notice, env: ControlEnv): Message {
  const control = env.CONTROL_HOSTNAME;
  return {
    type: notice.type,
    timestamp: iso(event.at),
    data: {
      event: event.id,
      severity: notice.severity,
      message: cut(event.message, 1_000),
      app: event.app,
      environment: event.environment,
      release: event.releaseId,
      version: release?.version ?? null,
      actor: event.actor,
      startedBy: release?.by ?? null,
      durationMs: release ? Math.max(0, event.at - release.createdAt) : null,
      reason: reasonOf(notice, release),
      ...requestOf(notice, release),
      source: sourceOf(release),
      links: {
        ...(hostname !== null && { app: `https://${hostname}` }),
        ...(control !== undefined &&
          event.releaseId !== null && { release: `https://${control}/ui/releases/${event.releaseId}` }),
        ...(release?.git?.run !== undefined && { run: release.git.run }),
      },
    },
  };
}

/** What ends a release need not say why once more: its failure is known since it began to be taken back. */
function reasonOf({ type, reason }: Notice, release: Untold["release"]): string | null {
  return reason ?? (isBadEnd(type) && release?.failure ? firstSentence(release.failure.message) : null);
}

const isBadEnd = (type: string): boolean => /^release\.(?:failed|aborted|rolled_back)$/.test(type);

const MOST_LINES = 3;
const MOST_OF_LINE = 300;

function requestOf({ type }: Notice, release: Untold["release"]): Pick<Message["data"], "request"> {
  const asked = release?.failedRequest;
  if (!asked?.found || !(isBadEnd(type) || type === "release.request")) return {};
  const { id, route, host, found } = asked;
  const lines = found.lines.slice(0, MOST_LINES).map((line) => cut(line, MOST_OF_LINE));
  return { request: { id, route, host, lines, note: found.note } };
}

function sourceOf(release: Untold["release"]): Source | null {
  const git = release?.git;
  return git ? { repository: git.url ?? null, commit: git.sha, ref: git.branch ?? null } : null;
}
