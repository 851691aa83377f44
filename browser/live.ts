/** The pages' one script: countdowns, news without a reload, log lines. Every page reads without it. */
import { Idiomorph } from "idiomorph";
import { spell } from "../src/domain/times.ts";
import { followLog } from "./log.ts";

const POLL_MS = 5_000;
/** Beside a feed that tells of every change, for what only counts on. */
const POLL_BESIDE_FEED_MS = 10_000;
/** A page that nobody touches is asked for less often: so many times as long, from so long on. What is on its way comes by the feed. */
const UNTOUCHED = [
  { fromMs: 600_000, factor: 6 },
  { fromMs: 120_000, factor: 3 },
];
const SETTLE_MS = 120;
const FEED_TYPES = [
  "release.state",
  "release.progress",
  "release.request",
  "instance.state",
  "traffic.weights",
  "traffic.alert",
  "worker.alert",
  "accessory.alert",
];

/** Control's clock minus the browser's, which may be off by an hour. */
let ahead = aheadIn(document);
let feed: EventSource | undefined;
let pending: ReturnType<typeof setTimeout> | undefined;
let isAsking = false;
/** What is replaced between press and release is never clicked. */
let isPressed = false;
let touchedAt = performance.now();

function aheadIn(page: Document): number {
  const said = Number(page.documentElement.dataset.now);
  return Number.isFinite(said) ? said - Date.now() : 0;
}

function tick(): void {
  for (const element of document.querySelectorAll<HTMLTimeElement>("time[data-until]")) {
    const left = Date.parse(element.dateTime) - Date.now() - ahead;
    const text = left > 0 ? `in ${spell(Math.ceil(left / 1_000) * 1_000)}` : "any moment";
    if (element.textContent !== text) element.textContent = text;
  }
}

function notice(text: string, link?: string): void {
  const place = document.getElementById("notice");
  if (!place || place.dataset.text === text) return;
  place.dataset.text = text;
  place.hidden = text === "";
  place.textContent = text;
  if (link === undefined) return;
  const anchor = document.createElement("a");
  anchor.href = link;
  anchor.textContent = "Sign in again";
  place.append(" ", anchor);
}

/** Asks for the page again and takes over what may have changed of it. */
async function refresh(): Promise<void> {
  if (isAsking || document.hidden) return;
  isAsking = true;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, redirect: "manual" });
    if (answer.type === "opaqueredirect") return ended();
    if (!answer.ok) throw new Error(String(answer.status));
    take(new DOMParser().parseFromString(await answer.text(), "text/html"));
    notice("");
  } catch {
    // Nobody answers, or with an error: what is shown stays, and is said to be old.
    notice("Control does not answer: this is how it was. Trying again …");
  } finally {
    isAsking = false;
  }
}

function ended(): void {
  feed?.close();
  feed = undefined;
  const back = encodeURIComponent(location.pathname + location.search);
  notice("Your sign-in has ended: this is how it was.", `/login?next=${back}`);
}

function take(page: Document): void {
  ahead = aheadIn(page);
  const [now, next] = [document.getElementById("live"), page.getElementById("live")];
  if (!now || !next || isPressed) return;
  document.title = page.title;
  const [icon, nextIcon] = [iconOf(document), iconOf(page)];
  if (icon && nextIcon && icon.href !== nextIcon.href) icon.href = nextIcon.href;
  // What stays keeps its place: where it was scrolled to, what was selected in it, what has the focus.
  void Idiomorph.morph(now, [...next.childNodes], {
    morphStyle: "innerHTML",
    // A person opened it, or shut it.
    callbacks: { beforeAttributeUpdated: (name) => name !== "open" },
  });
  const [said, says] = [document.getElementById("said"), page.getElementById("said")];
  if (said && says && said.textContent !== says.textContent) said.textContent = says.textContent;
  now.dataset.feed = next.dataset.feed ?? "";
  tick();
  follow();
}

const iconOf = (page: Document) => page.querySelector<HTMLLinkElement>("link[rel=icon]");

/** News come by the feed where something is on its way; it goes on after the last event by itself. */
function follow(): void {
  // A tab that nobody sees costs nobody anything: it catches up when it is looked at.
  const url = document.hidden ? "" : (document.getElementById("live")?.dataset.feed ?? "");
  if (url === (feed?.url ? new URL(feed.url).pathname : "") && feed?.readyState !== EventSource.CLOSED)
    return;
  feed?.close();
  feed = url === "" ? undefined : new EventSource(url);
  const soon = () => {
    clearTimeout(pending);
    pending = setTimeout(() => void refresh(), SETTLE_MS);
  };
  for (const type of FEED_TYPES) feed?.addEventListener(type, soon);
}

function poll(): void {
  const isFed = feed?.readyState === EventSource.OPEN;
  const untouchedMs = performance.now() - touchedAt;
  const factor = UNTOUCHED.find(({ fromMs }) => untouchedMs >= fromMs)?.factor ?? 1;
  setTimeout(() => void refresh().then(poll), factor * (isFed ? POLL_BESIDE_FEED_MS : POLL_MS));
}

tick();
setInterval(tick, 1_000);
if (document.getElementById("live")) {
  follow();
  poll();
  // A tab that slept, and a machine that did.
  const look = () => {
    touchedAt = performance.now();
    follow();
    void refresh();
  };
  for (const event of ["visibilitychange", "online", "pageshow"])
    (event === "visibilitychange" ? document : window).addEventListener(event, look);
  for (const event of ["pointerdown", "keydown", "scroll"])
    addEventListener(event, () => {
      touchedAt = performance.now();
    });
  for (const event of ["pointerdown", "pointerup", "pointercancel"])
    addEventListener(event, () => {
      isPressed = event === "pointerdown";
    });
}
const log = document.getElementById("log");
if (log) followLog(log);
