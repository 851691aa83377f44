import { describe, expect, it } from "vitest";
import type { Message } from "../../../src/control/notify/body.ts";
import { slackBody } from "../../../src/control/notify/slack.ts";

const failed: Message = {
  type: "release.failed",
  timestamp: "2026-11-28T20:00:00.000Z",
  data: {
    event: 7,
    severity: "error",
    message: "v43 was rolled back",
    app: "shop",
    environment: "production",
    release: "rel_1",
    version: "v43",
    actor: "control",
    startedBy: "ci:github:acme/shop#91",
    durationMs: 64_200,
    reason: "errors 12 % > 1 % (37 of 310 requests)",
    links: { app: "https://shop.example.com", release: "https://sluice.example.com/ui/releases/rel_1" },
  },
};

describe("a message in Slack", () => {
  it("says of a failed release what, where, why, who, how long, and where to look", () => {
    expect(JSON.parse(slackBody(failed))).toEqual({
      text: "shop/production v43 was rolled back",
      blocks: [
        {
          type: "section",
          text: {
            type: "mrkdwn",
            text: ":x: *shop/production*  v43\nv43 was rolled back\n>errors 12 % &gt; 1 % (37 of 310 requests)",
          },
        },
        {
          type: "context",
          elements: [
            {
              type: "mrkdwn",
              text: "by ci:github:acme/shop#91 · after 64 s · <https://sluice.example.com/ui/releases/rel_1|release> · <https://shop.example.com|open>",
            },
          ],
        },
      ],
    });
  });

  it("lets no name mention or link, and stays within Slack's bounds", () => {
    const named = {
      ...failed,
      data: {
        ...failed.data,
        version: "<!channel>",
        message: "<!here> & all",
        reason: "&<http://evil|x>".repeat(1_000),
      },
    };
    const body = slackBody(named);
    expect(body).not.toMatch(/<!(channel|here)>/);
    expect(body).not.toContain("<http://evil");
    for (const { text } of JSON.parse(body).blocks.filter(({ text }: { text?: unknown }) => text))
      expect(text.text.length).toBeLessThanOrEqual(3_000);
  });
});
