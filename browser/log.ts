/** The log page: keeps as many lines as a busy app writes in an hour, and draws only those in sight. */

/** Beyond them the oldest go, some at a time. */
const MOST = 100_000;
const DROPPED_AT_ONCE = 5_000;
/** Drawn above and below what is in sight, for quick scrolling. */
const BESIDE = 20;
const RETRY_MS = 5_000;

interface Line {
  readonly at: string;
  readonly host: string;
  readonly version: string;
  readonly stream: string;
  readonly text: string;
}

interface Log {
  readonly place: HTMLElement;
  readonly rows: HTMLElement;
  readonly says: HTMLElement | null;
  readonly button: HTMLElement | null;
  lines: Line[];
  /** Those with the words that were asked for; without any the very same list. */
  shown: Line[];
  words: string;
  isFollowing: boolean;
  isDue: boolean;
}

/** Reads the stream that the element names, and shows its lines in it. */
export function followLog(place: HTMLElement): void {
  const rows = document.createElement("div");
  place.append(rows);
  const log: Log = {
    place,
    rows,
    says: document.getElementById("log-says"),
    button: document.getElementById("log-follow"),
    lines: [],
    shown: [],
    words: "",
    isFollowing: true,
    isDue: false,
  };
  log.shown = log.lines;
  listen(log);
  connect(log, place.dataset.url ?? "");
}

function listen(log: Log): void {
  log.place.addEventListener("scroll", () => {
    const { scrollTop, scrollHeight, clientHeight } = log.place;
    follow(log, scrollHeight - scrollTop - clientHeight < lineHeight(log));
    soon(log);
  });
  log.button?.addEventListener("click", () => {
    follow(log, !log.isFollowing);
    soon(log);
  });
  document.getElementById("log-filter")?.addEventListener("input", ({ target }) => {
    log.words = (target as HTMLInputElement).value.toLowerCase();
    log.shown = log.words === "" ? log.lines : log.lines.filter((line) => fits(log, line));
    soon(log);
  });
  // Nothing is drawn in a tab that nobody sees: the lines are kept, and drawn when it is looked at.
  document.addEventListener("visibilitychange", () => soon(log));
  addEventListener("resize", () => soon(log));
}

const fits = (log: Log, { text }: Line) => text.toLowerCase().includes(log.words);

function follow(log: Log, isFollowing: boolean): void {
  log.isFollowing = isFollowing;
  log.button?.setAttribute("aria-pressed", String(isFollowing));
}

/** A lost connection is taken up by the browser itself, behind the last line; only a refusal ends it. */
function connect(log: Log, url: string): void {
  const source = new EventSource(url);
  source.onopen = () => say(log, "following");
  source.addEventListener("lines", ({ data }) => add(log, JSON.parse(data).lines));
  source.addEventListener("gap", ({ data }) => say(log, JSON.parse(data).message));
  source.addEventListener("host", ({ data }) => {
    const { state, message } = JSON.parse(data);
    say(log, state === "joined" ? "following" : message);
  });
  source.addEventListener("end", ({ data }) => {
    source.close();
    say(log, JSON.parse(data).message);
  });
  source.onerror = () => {
    if (source.readyState !== EventSource.CLOSED) return say(log, "the connection broke: trying again …");
    say(log, "control does not answer, or your sign-in has ended: trying again …");
    setTimeout(() => connect(log, goingOn(log, url)), RETRY_MS);
  };
}

/** From the last line's moment on: those of that moment come again, so they are let go. */
function goingOn(log: Log, url: string): string {
  const last = log.lines.at(-1)?.at;
  if (last === undefined) return url;
  while (log.lines.at(-1)?.at === last) {
    if (log.shown !== log.lines && log.shown.at(-1) === log.lines.at(-1)) log.shown.pop();
    log.lines.pop();
  }
  const [path = "", query = ""] = url.split("?");
  const next = new URLSearchParams(query);
  next.delete("tail");
  next.set("since", last);
  return `${path}?${next}`;
}

function add(log: Log, lines: readonly Line[]): void {
  for (const line of lines) {
    log.lines.push(line);
    if (log.shown !== log.lines && fits(log, line)) log.shown.push(line);
  }
  if (log.lines.length > MOST) drop(log);
  soon(log);
}

function drop(log: Log): void {
  const gone = new Set(log.lines.splice(0, log.lines.length - MOST + DROPPED_AT_ONCE));
  if (log.shown !== log.lines) log.shown = log.shown.filter((line) => !gone.has(line));
}

function say(log: Log, text: string): void {
  if (log.says) log.says.textContent = text;
}

function soon(log: Log): void {
  if (log.isDue || document.hidden) return;
  log.isDue = true;
  requestAnimationFrame(() => {
    log.isDue = false;
    draw(log);
  });
}

function lineHeight({ place }: Log): number {
  return Number.parseFloat(getComputedStyle(place).lineHeight) || 18;
}

function draw(log: Log): void {
  const { place, rows, shown } = log;
  const height = lineHeight(log);
  rows.style.height = `${shown.length * height}px`;
  if (log.isFollowing) place.scrollTop = place.scrollHeight;
  const from = Math.max(0, Math.floor(place.scrollTop / height) - BESIDE);
  const to = Math.min(shown.length, from + Math.ceil(place.clientHeight / height) + 2 * BESIDE);
  const drawn = shown.slice(from, to).map(row);
  rows.style.paddingTop = `${from * height}px`;
  rows.replaceChildren(...drawn);
  place.dataset.lines = String(shown.length);
}

function row({ at, host, version, stream, text }: Line): HTMLElement {
  const line = document.createElement("div");
  line.className = stream;
  const head = document.createElement("span");
  head.className = "soft";
  head.textContent = `${at.slice(11, 23)} ${host} ${version} `;
  const words = document.createElement("bdi");
  words.textContent = text;
  line.append(head, words);
  return line;
}
