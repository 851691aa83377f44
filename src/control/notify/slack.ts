import { cut } from "../../domain/notify/notice.ts";
import { spell } from "../../domain/times.ts";
import type { Message } from "./body.ts";
import { oneLine } from "./text.ts";

/**
 * A message as Slack's incoming webhooks show it (Block Kit): what happened, why, who and how long, where to look. Names and
 * reasons are anybody's to choose: `&`, `<` and `>` are escaped as Slack asks, and `verbatim` keeps it from making links
 * and mentions of what merely looks like one (https://docs.slack.dev/reference/block-kit/composition-objects/text-object).
 */
export const slackBody = (message: Message): string => JSON.stringify(slackParts(message));

export function slackParts({ data }: Message): { text: string; blocks: object[] } {
  const where = [data.app, data.environment].filter((part) => part !== null).join("/");
  const head = [where && `*${plain(where)}*`, data.version && plain(data.version)].filter(Boolean).join("  ");
  const text = [
    `${SIGNS[data.severity]} ${head}`.trim(),
    plain(data.message),
    isNews(data) && `>${plain(data.reason ?? "")}`,
    ...requestText(data),
  ];
  return {
    // For notifications, which show no blocks.
    text: cutEscaped(plain(`${where} ${data.message}`.trim()), 300),
    blocks: [
      { type: "section", text: mrkdwn(cutEscaped(text.filter(Boolean).join("\n"), SECTION)) },
      { type: "context", elements: [mrkdwn(factsOf(data))] },
    ],
  };
}

function requestText({ request, message }: Message["data"]): string[] {
  if (!request) return [];
  const { id, route, host, lines, note } = request;
  const head = `${route}${host === null ? "" : ` on ${host}`}, request ${id}:${note === null ? "" : ` ${note}`}`;
  return [...(message.includes(id) ? [] : [plain(head)]), ...lines.map((line) => `>${plain(line)}`)];
}

/** Most failures' messages end with their reason already. */
const isNews = ({ reason, message }: Message["data"]): boolean =>
  reason !== null && !message.includes(reason);

/** Short of the 2,000 that Slack takes in a context, also when all is escaped: a cut would break a link. */
const factsOf = (data: Message["data"]): string =>
  [
    `by ${plain(cut(data.startedBy ?? data.actor, 150))}`,
    data.durationMs === null ? undefined : `after ${spell(Math.round(data.durationMs / 1_000) * 1_000)}`,
    link(data.links.release, "release"),
    link(data.links.app, "open"),
    link(data.links.run, "CI run"),
  ]
    .filter(Boolean)
    .join(" · ");

const link = (to: string | undefined, text: string) =>
  to && plain(to).length <= MOST_OF_LINK ? `<${plain(to)}|${text}>` : undefined;

const mrkdwn = (text: string) => ({ type: "mrkdwn", text, verbatim: true });

/** What Slack takes in one text object of a section. */
const SECTION = 3_000;
const MOST_OF_LINK = 400;

const SIGNS: Readonly<Record<Message["data"]["severity"], string>> = {
  info: ":white_check_mark:",
  warn: ":warning:",
  error: ":x:",
};

const plain = (text: string): string =>
  oneLine(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** No half of an escape at its end either. */
const cutEscaped = (text: string, most: number): string =>
  text.length > most ? cut(text, most).replace(/&[a-z]{0,3}…$/, "…") : text;
