/** `npm run screenshots`: pictures of the dashboard's pages with a canary under way, in both themes, into docs/pictures. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "vitest";
import { openBrowser, signIn } from "../support/browser.ts";
import { canaryUnderWay } from "../support/stack/canary.ts";
import { Installation } from "../support/stack/installation.ts";

const APP = "hello";
const FOLDER = join(import.meta.dirname, "../../docs/pictures");
const SIZES = { desktop: { width: 1200, height: 820 }, phone: { width: 390, height: 800 } };

test.runIf(process.env.SCREENSHOTS)("pictures of every page", async () => {
  const [sluice, browser] = await Promise.all([Installation.start({ slots: 12 }), openBrowser()]);
  try {
    await canaryUnderWay(sluice, APP, "v2", { judged: true });
    sluice.visit(APP);
    // Until the edge's counts say something, and are enough to price a promote by.
    await sleep(75_000);
    await mkdir(FOLDER, { recursive: true });
    const { items } = await sluice.client.releases.list(APP, "production");
    const home = `/ui/apps/${APP}/production`;
    const pages = {
      overview: "/",
      environment: home,
      promote: `${home}/moves/promote`,
      release: `/ui/releases/${items[0]?.id}`,
      compare: `${home}/compare?a=${items[1]?.id}&b=${items[0]?.id}`,
      hosts: "/ui/hosts",
      logs: `${home}/logs`,
      runs: `${home}/runs`,
      dora: "/ui/dora",
      audit: "/ui/audit",
      settings: "/ui/settings",
    };
    for (const [size, viewport] of Object.entries(SIZES))
      for (const colorScheme of ["light", "dark"] as const) {
        const context = await browser.person({ viewport, colorScheme });
        const page = await signIn(context, sluice.controlUrl, sluice.home.token);
        for (const [name, path] of Object.entries(pages)) {
          await page.goto(`${sluice.controlUrl}${path}`);
          if (name === "logs") await page.locator("#log > div > div").first().waitFor();
          await page.screenshot({ path: join(FOLDER, `${name}-${size}-${colorScheme}.png`) });
        }
        await context.close();
      }
  } finally {
    await browser.close();
    await sluice.close();
  }
});
