import type { Message } from "./body.ts";

/**
 * A message as Slack's incoming webhooks show it (Block Kit): what happened, why, who and how long, where to look. Names are
 * anybody's to choose: `&`, `<` and `>` are escaped as Slack asks, so that none can mention or link
 * (https://docs.slack.dev/messaging/formatting-message-text).
 */
export const slackBody = (message: Message): string => JSON.stringify(slackParts(message));

export function slackParts({ data }: Message): { text: string; blocks: object[] } {
  const where = [data.app, data.environment].filter((part) => part !== null).join("/");
  const head = [where && `*${plain(where)}*`, data.version && plain(data.version)].filter(Boolean).join("  ");
  const text = [
    `${SIGNS[data.severity]} ${head}`.trim(),
    plain(data.message),
    data.reason && `>${plain(data.reason)}`,
  ]
    .filter(Boolean)
    .join("\n");
  const facts = [
    `by ${plain(data.startedBy ?? data.actor)}`,
    data.durationMs === null ? undefined : `after ${Math.round(data.durationMs / 1_000)} s`,
    data.links.release && `<${data.links.release}|release>`,
    data.links.app && `<${data.links.app}|open>`,
  ].filter(Boolean);
  return {
    // For notifications, which show no blocks.
    text: cut(plain(`${where} ${data.message}`.trim()), 300),
    blocks: [
      { type: "section", text: { type: "mrkdwn", text: cut(text, SECTION) } },
      { type: "context", elements: [{ type: "mrkdwn", text: cut(facts.join(" · "), CONTEXT) }] },
    ],
  };
}

/** What Slack takes in one text object of a section, and of a context. */
const SECTION = 3_000;
const CONTEXT = 2_000;

const SIGNS: Readonly<Record<Message["data"]["severity"], string>> = {
  info: ":white_check_mark:",
  warn: ":warning:",
  error: ":x:",
};

const plain = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("\n", " ");

const cut = (text: string, most: number): string =>
  text.length > most ? `${text.slice(0, most - 1)}…` : text;
