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
    source: { repository: "https://github.com/acme/shop", commit: "a".repeat(40), ref: "main" },
    links: {
      app: "https://shop.example.com",
      release: "https://sluice.example.com/ui/releases/rel_1",
      run: "https://github.com/acme/shop/actions/runs/91?pr=7&check=2",
    },
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
            verbatim: true,
            text: ":x: *shop/production*  v43\nv43 was rolled back\n>errors 12 % &gt; 1 % (37 of 310 requests)",
          },
        },
        {
          type: "context",
          elements: [
            {
              type: "mrkdwn",
              verbatim: true,
              text: "by ci:github:acme/shop#91 · after 64 s · <https://sluice.example.com/ui/releases/rel_1|release> · <https://shop.example.com|open> · <https://github.com/acme/shop/actions/runs/91?pr=7&amp;check=2|CI run>",
            },
          ],
        },
      ],
    });
  });

  it("shows a failed release's lines of the request that failed, as the text they are", () => {
    const lines = ["POST /pay 4f0c-9k: <!channel>", "    at pay"];
    const request = { id: "4f0c-9k", route: "POST /pay", host: "web-2", lines, note: null };
    expect(told({ request }).section.text).toContain(
      "\nPOST /pay on web-2, request 4f0c-9k:\n>POST /pay 4f0c-9k: &lt;!channel&gt;\n>at pay",
    );
    const note = "no line of the app holds its id";
    expect(told({ request: { ...request, lines: [], note } }).section.text).toMatch(
      /request 4f0c-9k: no line of/,
    );
  });

  const told = (data: Partial<Message["data"]>) => {
    const { text, blocks } = JSON.parse(slackBody({ ...failed, data: { ...failed.data, ...data } }));
    const [section, context] = blocks as [{ text: Text }, { elements: [Text] }];
    return { text: text as string, section: section.text, context: context.elements[0] };
  };
  interface Text {
    readonly text: string;
    readonly verbatim: boolean;
  }

  it.each([
    ["a mention of all", "<!channel> <!here> <@U0123>"],
    ["a link", "<http://evil.example|release>"],
    ["what looks like a mention or a link", "@channel #general http://evil.example"],
    ["other lines, and a turned direction", "one\r\n>two\u2028three\u202efour"],
    ["more than there is room for, of what is escaped", "&<😀>".repeat(2_000)],
    ["more than there is room for, of characters of two halves", "😀".repeat(4_000)],
  ])("shows as text whatever is forged: %s", (_, forged) => {
    const by = { startedBy: forged, actor: forged };
    const links = { ...failed.data.links, run: `https://ci.example/${"&".repeat(400)}` };
    const { text, section, context } = told({
      version: forged,
      message: forged,
      reason: `${forged}!`,
      ...by,
      links,
    });
    for (const part of [text, section.text, context.text]) {
      expect(part.isWellFormed()).toBe(true);
      const own = part.replaceAll(/<https:\/\/(?:sluice|shop)\.example\.com[\w/]*\|(?:release|open)>/g, "");
      expect(own).not.toMatch(/[<\u202e\r\u2028]|&(?!amp;|lt;|gt;)/);
    }
    expect([section.verbatim, context.verbatim]).toEqual([true, true]);
    expect(section.text.length).toBeLessThanOrEqual(3_000);
    expect(context.text.length).toBeLessThanOrEqual(2_000);
    // Head, what happened and why; each on its line.
    expect(section.text.split("\n").length).toBeLessThanOrEqual(3);
    expect(context.text).toContain("<https://shop.example.com|open>");
  });

  it("says a reason once, where what happened ends with it", () => {
    const reason = "GET /health answered 500";
    expect(told({ message: `v43 failed: ${reason}`, reason }).section.text).toBe(
      `:x: *shop/production*  v43\nv43 failed: ${reason}`,
    );
  });
});
