/**
 * Requests of one kind under one name: `GET /orders/:id`. Ids would make each request a route of its own, and whoever makes
 * paths up would fill a memory: names are short, and how many are told apart is bounded (RouteNames).
 */

/** Routes told apart at a time; the others are counted as one. */
export const MOST_ROUTES = 32;
/** What all others are counted under. No path has such a name. */
export const OTHER_ROUTES = "other routes";

const MOST_SEGMENTS = 6;
const MOST_SEGMENT = 40;
const KNOWN_METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
const SLASH = 47;
const [QUESTION, HASH, DOT] = [63, 35, 46];

/** `target`: path and query, as sent. Ids, uuids, hashes and numbers are folded to `:id`; an ending such as `.js` stays. */
export function routeName(method: string, target: string): string {
  const verb = KNOWN_METHODS.has(method) ? method : "OTHER";
  let path = "";
  let kept = 0;
  let from = 1;
  for (let segments = 0; ; segments += 1) {
    const { end, isId, dot } = segmentAt(target, from);
    if (isId) {
      path += `${target.slice(kept, from)}:id`;
      kept = dot;
    }
    const isLast = target.charCodeAt(end) !== SLASH;
    if (isLast || segments === MOST_SEGMENTS - 1)
      return `${verb} ${path}${target.slice(kept, end)}${isLast ? "" : "/…"}`;
    from = end + 1;
  }
}

/** Where the segment ends, whether it names one thing of many, and where its ending (`.js`) begins. */
function segmentAt(target: string, from: number): { end: number; isId: boolean; dot: number } {
  let digits = 0;
  let lower = 0;
  let upper = 0;
  let odd = 0;
  let dot = -1;
  let end = from;
  for (; end < target.length; end += 1) {
    const code = target.charCodeAt(end);
    if (code === SLASH || code === QUESTION || code === HASH) break;
    if (code >= 48 && code <= 57) digits += 1;
    else if (code >= 97 && code <= 122) lower += 1;
    else if (code >= 65 && code <= 90) upper += 1;
    else if (code === DOT) dot = end;
    // `-` and `_` part words; anything else (%20, @, ~) is somebody's input.
    else if (code !== 45 && code !== 95) odd += 1;
  }
  const length = end - from;
  const isId =
    odd > 0 ||
    digits >= 3 ||
    (digits > 0 && digits === length) ||
    (digits > 0 && lower > 0 && upper > 0 && length >= 8) ||
    length > MOST_SEGMENT;
  // An ending says what kind of thing it is; a long one, or a name that only begins with a dot, is none.
  const hasEnding = dot > from && end - dot <= 6 && end - dot > 1;
  return { end, isId, dot: hasEnding ? dot : end };
}

interface Held {
  requests: number;
  hasFailed: boolean;
  /** Epoch ms of the last request. */
  at: number;
}

/** Targets whose names are kept, and how long each may be. */
const MOST_NAMED = 500;
const MOST_TARGET = 200;
/** A route without a request for so long gives its name up to another, ms. */
const IDLE_MS = 60_000;

/**
 * Which routes are counted by name, at most MOST_ROUTES: those that came first, and any that fails, since those are looked for:
 * it takes the place of the least visited that never did. So made-up paths can't crowd out a fault.
 */
export class RouteNames {
  readonly #held = new Map<string, Held>();
  /** Names of GETs that came before, by target: most requests are for few of them, and a name that is kept costs no making. */
  readonly #named = new Map<string, string>();

  /** The route's name, as {@link routeName} makes it. */
  nameOf(method: string, target: string): string {
    if (method !== "GET") return routeName(method, target);
    const known = this.#named.get(target);
    if (known !== undefined) return known;
    const name = routeName(method, target);
    if (this.#named.size >= MOST_NAMED) this.#named.clear();
    if (target.length <= MOST_TARGET) this.#named.set(target, name);
    return name;
  }

  /** The name that this request is counted under: the route's, or OTHER_ROUTES. */
  admit(route: string, hasFailed: boolean, now: number, requests = 1): string {
    if (route === OTHER_ROUTES) return OTHER_ROUTES;
    const held = this.#held.get(route);
    if (held !== undefined) {
      held.requests += requests;
      held.hasFailed ||= hasFailed;
      held.at = now;
      return route;
    }
    if (this.#held.size >= MOST_ROUTES && !this.#makeRoom(hasFailed, now)) return OTHER_ROUTES;
    this.#held.set(route, { requests, hasFailed, at: now });
    return route;
  }

  #makeRoom(hasFailed: boolean, now: number): boolean {
    let least: string | null = null;
    let fewest = Infinity;
    for (const [route, held] of this.#held) {
      const isIdle = now - held.at > IDLE_MS;
      if (!isIdle && (!hasFailed || held.hasFailed)) continue;
      const requests = isIdle ? 0 : held.requests;
      if (requests >= fewest) continue;
      fewest = requests;
      least = route;
    }
    return least !== null && this.#held.delete(least);
  }
}
