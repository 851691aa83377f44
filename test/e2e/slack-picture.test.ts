/** `npm run screenshots`: a failed release as Slack shows it, into docs/pictures. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "vitest";
import type { Message } from "../../src/control/notify/body.ts";
import { slackParts } from "../../src/control/notify/slack.ts";
import { type Block, slackPage } from "../support/block-kit.ts";
import { openBrowser } from "../support/browser.ts";

const FOLDER = join(import.meta.dirname, "../../docs/pictures");
const FAILED: Message = {
  type: "release.rolled_back",
  timestamp: "2026-11-28T20:01:04.000Z",
  data: {
    event: 7,
    severity: "error",
    message: "v42 is rolled back",
    app: "shop",
    environment: "production",
    release: "rel_01m3",
    version: "v42",
    actor: "sluice",
    startedBy: "github:acme/shop",
    durationMs: 95_000,
    reason:
      "errors 2.7 % against 0.2 % on stable, 412 and 3,704 requests; POST /checkout: 37 of 41 on v42, 0 of 380 on stable, web-2 only: rolled back",
    source: { repository: "https://github.com/acme/shop", commit: "5f3c2b1a".repeat(5), ref: "main" },
    links: {
      app: "https://shop.example.com",
      release: "https://sluice.example.com/ui/releases/rel_01m3",
      run: "https://github.com/acme/shop/actions/runs/91",
    },
  },
};

test.runIf(process.env.SCREENSHOTS)("a picture of a failed release in Slack", async () => {
  const browser = await openBrowser();
  try {
    const person = await browser.person({ viewport: { width: 690, height: 100 }, deviceScaleFactor: 2 });
    const page = await person.newPage();
    await page.setContent(slackPage(slackParts(FAILED).blocks as Block[]));
    await mkdir(FOLDER, { recursive: true });
    await page.screenshot({ path: join(FOLDER, "slack-failed-release.png"), fullPage: true });
  } finally {
    await browser.close();
  }
});
