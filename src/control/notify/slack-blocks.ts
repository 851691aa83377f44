import type { Message } from "./body.ts";
import { slackParts } from "./slack.ts";

/** What a bot tells of one event: the release's message as it is from now on, and a line in its thread. */
export interface SlackAppBody {
  readonly parent: SlackMessage;
  /** Null: this event has no release, so its message has no thread. */
  readonly reply: SlackMessage | null;
  /** Shown in the channel, too: failures alone. */
  readonly broadcast: boolean;
}
export interface SlackMessage {
  readonly text: string;
  readonly blocks: readonly object[];
}

export const ACTIONS = { approve: "Approve", reject: "Reject", abort: "Abort" } as const;
export type SlackAction = keyof typeof ACTIONS;

/** Types after which nothing is left to be pressed. */
const OVER = /^release\.(?:live|failed|aborted|rolled_back|rolling_back|superseded|settling)$/;

/** `digest`: of a release that waits for an approval. */
export function slackAppBody(message: Message, digest: string | null): SlackAppBody {
  const { release, severity } = message.data;
  const { text, blocks } = slackParts(message);
  const buttons = release === null ? [] : buttonsOf(message, digest);
  const actions = buttons.length === 0 ? [] : [{ type: "actions", elements: buttons }];
  return {
    parent: { text, blocks: [...blocks, ...actions] },
    reply: release === null ? null : { text, blocks: blocks.slice(0, 1) },
    broadcast: severity === "error",
  };
}

function buttonsOf({ type, data }: Message, digest: string | null): object[] {
  if (OVER.test(type)) return [];
  const which: SlackAction[] = digest === null ? ["abort"] : ["approve", "reject"];
  return which.map((action) => ({
    type: "button",
    action_id: action,
    text: { type: "plain_text", text: ACTIONS[action] },
    ...(action === "approve" ? { style: "primary" } : { style: "danger" }),
    value: JSON.stringify({ release: data.release, ...(digest === null ? {} : { digest }) }),
    ...(action === "approve" ? {} : { confirm: confirmOf(action) }),
  }));
}

const confirmOf = (action: SlackAction) => ({
  title: { type: "plain_text", text: `${ACTIONS[action]}?` },
  text: { type: "plain_text", text: "The release ends; who served before has the traffic." },
  confirm: { type: "plain_text", text: ACTIONS[action] },
  deny: { type: "plain_text", text: "Leave it" },
});
