import axe from "axe-core";
import type { BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type OpenBrowser, openBrowser, signIn } from "../support/browser.ts";
import { canaryUnderWay } from "../support/canary.ts";
import { Installation } from "../support/installation.ts";

/** The dashboard as people use it: in a real Chromium, beside a real canary with real visitors. */
const APP = "hello";
const HOME = `/ui/apps/${APP}/production`;
let sluice: Installation;
let browser: OpenBrowser;
let admin: BrowserContext;
let page: Page;

beforeAll(async () => {
  [sluice, browser] = await Promise.all([Installation.start({ slots: 12 }), openBrowser()]);
  await canaryUnderWay(sluice, APP, "v2");
  sluice.visit(APP);
  admin = await browser.person();
  page = await signIn(admin, sluice.controlUrl, sluice.home.token);
});

afterAll(async () => {
  await browser?.close();
  await sluice?.close();
});

const url = (path: string) => `${sluice.controlUrl}${path}`;
test("no page has anything serious in a screen reader's way", async () => {
  const { items } = await sluice.client.releases.list(APP, "production");
  const [a, b] = items;
  const paths = ["/", HOME, `/ui/releases/${a?.id}`, `${HOME}/compare?a=${b?.id}&b=${a?.id}`];
  const others = [`${HOME}/moves/weight`, "/ui/hosts", "/ui/audit", "/ui/settings", "/login"];
  const found: string[] = [];
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    for (const path of [...paths, ...others]) {
      await page.goto(url(path));
      const violations = await page.evaluate(`${axe.source}; axe.run().then(({ violations }) => violations)`);
      for (const { id, impact, nodes } of violations as {
        id: string;
        impact: string;
        nodes: { html: string }[];
      }[])
        found.push(`${path} ${colorScheme}: ${impact} ${id} ${nodes[0]?.html}`);
    }
  }
  expect(found).toEqual([]);
});
