import { awaited } from "../../domain/approval/gate.ts";
import { isAtRest } from "../../domain/rollout/release.ts";
import type { TellableRelease } from "../store/notify/deliveries.ts";
import type { Message } from "./body.ts";
import { slackParts } from "./slack.ts";

/** What a bot tells of one event: the release's message as it is from now on, and a line in its thread. */
export interface SlackAppBody {
  readonly parent: SlackMessage;
  /** Null: this event has no release, so its message has no thread. */
  readonly reply: SlackMessage | null;
  /** Shown in the channel, too: failures alone. */
  readonly broadcast: boolean;
  /** The release's message, where there is one, stays as it is: this tells nothing of how far the release is. */
  readonly isAside: boolean;
}
export interface SlackMessage {
  readonly text: string;
  readonly blocks: readonly object[];
}

export const ACTIONS = { approve: "Approve", reject: "Reject", abort: "Abort" } as const;
export type SlackAction = keyof typeof ACTIONS;

/** `release`: as it is by now; null: the message is of none. */
export function slackAppBody(message: Message, release: TellableRelease | null): SlackAppBody {
  const { text, blocks } = slackParts(message);
  const { type, data } = message;
  const buttons = release === null ? [] : buttonsOf(data.release, release);
  const actions = buttons.length === 0 ? [] : [{ type: "actions", elements: buttons }];
  const isOver = release !== null && isAtRest(release.state) && !type.startsWith(`release.${release.state}`);
  return {
    parent: { text, blocks: [...blocks, ...actions] },
    reply: release === null ? null : { text, blocks: blocks.slice(0, 1) },
    broadcast: data.severity === "error",
    isAside: !type.startsWith("release.") || type === "release.request" || isOver,
  };
}

function buttonsOf(id: string | null, release: TellableRelease): object[] {
  const approval = awaited(release);
  if (!approval && (isAtRest(release.state) || release.state === "rolling_back")) return [];
  const which: SlackAction[] = approval ? ["approve", "reject"] : ["abort"];
  const seen = approval ? { digest: approval.subject, step: approval.step ?? undefined } : {};
  return which.map((action) => ({
    type: "button",
    action_id: action,
    text: { type: "plain_text", text: ACTIONS[action] },
    ...(action === "approve" ? { style: "primary" } : { style: "danger" }),
    value: JSON.stringify({ release: id, ...seen }),
    ...(action === "approve" ? {} : { confirm: confirmOf(action) }),
  }));
}

const confirmOf = (action: SlackAction) => ({
  title: { type: "plain_text", text: `${ACTIONS[action]}?` },
  text: { type: "plain_text", text: "The release ends; who served before has the traffic." },
  confirm: { type: "plain_text", text: ACTIONS[action] },
  deny: { type: "plain_text", text: "Leave it" },
});
