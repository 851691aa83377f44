import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import axe from "axe-core";
import type { BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { type OpenBrowser, openBrowser, signIn } from "../support/browser.ts";
import { canaryUnderWay, nextCanary } from "../support/stack/canary.ts";
import { Installation } from "../support/stack/installation.ts";

/** The dashboard as people use it: in a real Chromium, beside a real canary with real visitors. */
const APP = "hello";
const HOME = `/ui/apps/${APP}/production`;
let sluice: Installation;
let browser: OpenBrowser;
let admin: BrowserContext;
let page: Page;

beforeAll(async () => {
  [sluice, browser] = await Promise.all([Installation.start({ slots: 12, isD1Far: true }), openBrowser()]);
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

const stateOf = async (version: string) => {
  const { items } = await sluice.client.releases.list(APP, "production");
  return items.find((release) => release.version === version)?.state;
};
/** Once the page itself says so: nobody reloads it. */
const says = (text: string | RegExp, on = page) =>
  on.locator("#live").getByText(text).first().waitFor({ timeout: 90_000 });

test("a canary is watched, and promoted by clicking", async () => {
  await page.goto(url(HOME));
  await says(/v2 is paused/);
  expect(await page.title()).toBe("25 % ‖ hello");
  await page.getByRole("link", { name: "Promote" }).click();
  await page.getByText("What would happen now").waitFor();
  expect(await page.locator("form.card").textContent()).toContain("v2 50 %");
  await page.locator("form.card").getByRole("button", { name: "Promote" }).click();
  await page.waitForURL(url(HOME));
  await says("50 % for 10 m");
  await expect.poll(() => page.title()).toBe("50 % → hello");
});

test("a browser whose clock is an hour off counts down as the others do", async () => {
  const secondsIn = async (on: Page) => {
    const text = await on.locator("#live time[data-until]").first().textContent();
    const [, minutes = "0", seconds = "0"] = /in (?:(\d+) m)? ?(?:(\d+) s)?/.exec(text ?? "") ?? [];
    return 60 * Number(minutes) + Number(seconds);
  };
  for (const hours of [-1, 1]) {
    const context = await browser.person();
    await context.addInitScript(`{ const now = Date.now; Date.now = () => now() + ${hours * 3_600_000}; }`);
    const other = await signIn(context, sluice.controlUrl, sluice.home.token, HOME);
    await expect.poll(() => secondsIn(other)).toBeGreaterThan(60);
    const [theirs, ours] = await Promise.all([secondsIn(other), secondsIn(page)]);
    expect(Math.abs(theirs - ours)).toBeLessThan(15);
    await context.close();
  }
});

test("what somebody marked and has the focus on stays where it is while the page goes on", async () => {
  const context = await browser.person();
  const phone = await signIn(context, sluice.controlUrl, sluice.home.token, HOME);
  const age = () => phone.locator("#live .when time").first().textContent();
  const first = await age();
  await phone.locator("[aria-label=Timeline]").focus();
  await phone.evaluate(`{
    document.querySelector("[aria-label=Releases]").isTheSame = true;
    getSelection().selectAllChildren(document.querySelector("#live h1"));
  }`);
  await expect.poll(age, { timeout: 30_000 }).not.toBe(first);
  expect(
    await phone.evaluate(`[
      String(getSelection()),
      document.activeElement.getAttribute("aria-label"),
      document.querySelector("[aria-label=Releases]").isTheSame,
    ]`),
  ).toEqual(["hello / production", "Timeline", true]);
  await context.close();
});

test("who may only read is told who may do more, on the button and behind it", async () => {
  const made = await sluice.client.tokens.create({ name: "reader", role: "viewer" });
  const reader = await signIn(await browser.person(), sluice.controlUrl, made.token, HOME);
  const button = reader.getByRole("link", { name: "Abort" });
  expect(await button.getAttribute("title")).toBe("Abort needs the role approver for hello/production");
  // What is live is drawn anew now and then, also between the look at a button and its press.
  await expect.poll(() => button.click({ force: true }).then(() => "pressed", String)).toBe("pressed");
  expect(await reader.locator("form.card").getByRole("button").isDisabled()).toBe(true);
  // A form that somebody sends all the same.
  await reader.locator("form.card button").evaluate((element) => element.removeAttribute("disabled"));
  await reader.locator("form.card").getByRole("button").click();
  await reader.getByText("this needs approver for hello/production").waitFor();
  await sluice.client.tokens.revoke(made.id);
  await reader.goto(url(HOME));
  expect(new URL(reader.url()).pathname).toBe("/login");
});

test("everything can be read and done without JavaScript: an abort gives the traffic back", async () => {
  const context = await browser.person({ javaScriptEnabled: false });
  const plain = await signIn(context, sluice.controlUrl, sluice.home.token, HOME);
  await plain.getByRole("link", { name: "Abort" }).click();
  await plain.getByLabel("Reason").fill("<b>مرحبا</b>");
  await plain.locator("form.card").getByRole("button", { name: "Abort" }).click();
  await plain.waitForURL(url(HOME));
  await expect.poll(() => stateOf("v2")).toBe("rolled_back");
  await plain.reload();
  await plain.locator("bdi", { hasText: "<b>مرحبا</b>" }).first().waitFor();
  await says(/v1 is live/);
});

/** Presses Tab until what has that name is in focus, which must be seen, then Enter. */
async function press(name: string, within = "body"): Promise<void> {
  const focus = page.locator(`${within} :focus-visible`);
  for (let pressed = 0; pressed < 60; pressed++) {
    await page.keyboard.press("Tab");
    if ((await focus.count()) === 0 || (await focus.textContent()) !== name) continue;
    expect(await focus.evaluate("(at) => getComputedStyle(at).outlineStyle")).not.toBe("none");
    return page.keyboard.press("Enter");
  }
  throw new Error(`no ${name} within 60 presses of Tab`);
}

test("a live release is rolled back with the keyboard alone", async () => {
  await nextCanary(sluice, APP, "v3");
  const { items } = await sluice.client.releases.list(APP, "production");
  await sluice.client.releases.promote(items[0]?.id ?? "", { full: true });
  await sluice.reaches(APP, "v3", ["settling", "live"]);
  await page.goto(url(HOME));
  await press("Roll back");
  await page.getByText("What would happen now").waitFor();
  await press("Roll back", "form.card");
  await page.waitForURL(url(HOME));
  await expect.poll(() => stateOf("v3"), { timeout: 90_000 }).toBe("rolled_back");
  await says(/v1 is live/);
});

test("of two people who press at once one is heard, and the other told how it is now", async () => {
  await nextCanary(sluice, APP, "v4");
  const two = [
    page,
    await signIn(await browser.person(), sluice.controlUrl, sluice.home.token, HOME),
  ] as const;
  for (const one of two) {
    await one.goto(url(`${HOME}/moves/promote`));
    await one.getByText("What would happen now").waitFor();
  }
  for (const one of two) await one.locator("form.card").getByRole("button", { name: "Promote" }).click();
  const [first, second] = two;
  await first.waitForURL(url(HOME));
  await second
    .getByText(/stale|moved on|no longer|has changed/i)
    .first()
    .waitFor();
  const { items } = await sluice.client.releases.list(APP, "production");
  expect(items[0]).toMatchObject({ version: "v4", weight: 50 });
  await second.context().close();
});

test("a tab that nobody sees asks nothing, and catches up when it is looked at", async () => {
  const context = await browser.person();
  await context.addInitScript(
    "Object.defineProperty(document, 'hidden', { get: () => window.isHidden === true })",
  );
  const tab = await signIn(context, sluice.controlUrl, sluice.home.token, HOME);
  await says("50 % for 10 m", tab);
  const sleepOrWake = (isHidden: boolean) =>
    tab.evaluate((hidden) => {
      const window = globalThis as unknown as { isHidden: boolean; document: EventTarget };
      window.isHidden = hidden;
      window.document.dispatchEvent(new Event("visibilitychange"));
    }, isHidden);
  await sleepOrWake(true);
  let asked = 0;
  tab.on("request", () => {
    asked += 1;
  });
  const { items } = await sluice.client.releases.list(APP, "production");
  await sluice.client.releases.abort(items[0]?.id ?? "", {});
  await expect.poll(() => stateOf("v4")).toBe("rolled_back");
  // The other page, which is in sight, has had it from the feed.
  await page.goto(url(HOME));
  await says(/v1 is live/);
  expect(asked).toBe(0);
  await sleepOrWake(false);
  await tab
    .locator("#live")
    .getByText(/v1 is live/)
    .first()
    .waitFor();
  await context.close();
});

test("who is told of events is shown with each delivery, and how its last try went", async () => {
  const server = createServer((_request, response) => response.writeHead(500).end("on fire"));
  await once(server.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const made = await sluice.client.webhooks.add({ url: `http://127.0.0.1:${port}/hook` });
  await sluice.client.webhooks.test(made.id);
  await expect
    .poll(async () => {
      await page.goto(url(`/ui/webhooks/${made.id}`));
      return page.locator("main").textContent();
    })
    .toMatch(/webhook\.test.*pending.*500.*on fire/s);
  await page.goto(url("/ui/settings"));
  await page.getByText(`127.0.0.1:${port}/hook`).waitFor();
  await sluice.client.webhooks.remove(made.id);
});

test("pages come within a second with a database that is 120 ms away", async () => {
  const far = (ms: number) => fetch(url(`/bench/far?ms=${ms}`));
  await far(120);
  onTestFinished(() => void far(0));
  for (const path of ["/", HOME, "/ui/hosts"]) {
    const look = async () => {
      const began = performance.now();
      await page.goto(url(path), { waitUntil: "domcontentloaded" });
      return performance.now() - began;
    };
    // A machine that does much else has its better moments, too.
    await expect.poll(look).toBeLessThan(1_000);
  }
});

test("a sign-in that ends under an open page is said, and what was shown stays", async () => {
  await page.goto(url(HOME));
  const [cookie] = await admin.cookies();
  await admin.clearCookies();
  await page.getByText("Your sign-in has ended").waitFor({ timeout: 90_000 });
  await says(/v1 is live/);
  await page.getByRole("link", { name: "Sign in again" }).click();
  await page.getByLabel("Token").waitFor();
  if (cookie) await admin.addCookies([cookie]);
});

test("of 100,000 log lines those in sight are drawn, and a hidden tab draws none until it is looked at", async () => {
  const line = (i: number) => ({
    at: "2026-11-23T12:00:00.000Z",
    host: "web-1",
    instance: "ins_1",
    version: "v1",
    stream: i % 1_000 === 0 ? "stderr" : "stdout",
    text: i === 99_999 ? "<b>the last</b> مرحبا" : `line ${i}`,
  });
  const chunks = Array.from({ length: 100 }, (_, chunk) => {
    const lines = Array.from({ length: 1_000 }, (_, i) => line(chunk * 1_000 + i));
    return `event: lines\nid: ${chunk}\ndata: ${JSON.stringify({ lines })}\n\n`;
  });
  const end = `event: end\ndata: {"hosts":[],"answered":[],"message":"all was said"}\n\n`;
  const log = await admin.newPage();
  await log.route("**/logs?follow=1&**", (route) =>
    route.fulfill({ contentType: "text/event-stream", body: chunks.join("") + end }),
  );
  await log.addInitScript("Object.defineProperty(document, 'hidden', { get: () => !window.isSeen })");
  await log.goto(url(`${HOME}/logs`));
  await log.getByText("all was said").waitFor();
  expect(await log.locator("#log > div > div").count()).toBe(0);
  const took = await log.evaluate(async () => {
    const page = globalThis as unknown as { isSeen: boolean; document: EventTarget };
    const start = performance.now();
    page.isSeen = true;
    page.document.dispatchEvent(new Event("visibilitychange"));
    await new Promise((drawn) => setTimeout(drawn));
    return performance.now() - start;
  });
  await log.getByText("<b>the last</b>").waitFor();
  expect(await log.locator("#log").getAttribute("data-lines")).toBe("100000");
  expect(await log.locator("#log > div > div").count()).toBeLessThan(150);
  expect(took).toBeLessThan(500);
  await log.getByLabel("Only lines with").fill("line 4242");
  await expect.poll(() => log.locator("#log").getAttribute("data-lines")).toBe("11");
  await log.close();
});

test("an app's lines come to the page by themselves, and the page says when its connection is lost and back", async () => {
  const log = await admin.newPage();
  await log.goto(url(`${HOME}/logs`));
  await log.locator("#log > div > div").first().waitFor();
  await log.locator("#log-says", { hasText: "following" }).waitFor();
  await log.goto(url(HOME));
  await admin.setOffline(true);
  await log.getByText("Control does not answer").waitFor();
  await admin.setOffline(false);
  await log.locator("#notice").waitFor({ state: "hidden" });
  await log.close();
});

test("control that is started anew under an open page is said to be away, and the page goes on by itself", async () => {
  await page.goto(url(HOME));
  await says(/v1 is live/);
  await sluice.killStack();
  await page.getByText("Control does not answer").waitFor({ timeout: 30_000 });
  await says(/v1 is live/);
  await sluice.reviveStack();
  await page.locator("#notice").waitFor({ state: "hidden", timeout: 30_000 });
  await nextCanary(sluice, APP, "v5");
  await says(/v5 is paused/);
});

test("no page has anything serious in a screen reader's way", async () => {
  const { items } = await sluice.client.releases.list(APP, "production");
  const [a, b] = items;
  const paths = ["/", HOME, `/ui/releases/${a?.id}`, `${HOME}/compare?a=${b?.id}&b=${a?.id}`];
  const others = [
    `${HOME}/logs`,
    `${HOME}/runs`,
    `${HOME}/releases`,
    "/ui/dora",
    `${HOME}/moves/weight`,
    "/ui/hosts",
    "/ui/audit",
    "/ui/settings",
    "/login",
  ];
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
