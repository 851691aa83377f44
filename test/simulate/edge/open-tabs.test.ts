/** Tabs that stay open while releases come and go beneath them, through the real edge in virtual time. */
import { expect, it } from "vitest";
import type { RoutingTable } from "../../../src/domain/routing/table.ts";
import { releaseOf, tableOf } from "../../support/tables.ts";
import { Clock } from "../clock.ts";
import { Dice } from "../dice.ts";
import { type Isolate, macrotask, openIsolate } from "./edge.ts";

const HOUR = 3_600_000;
const START = Date.UTC(2026, 10, 29);
const TABS = 10_000;
const LOADS_PER_TAB = 3;
const DEPLOYS = 6;
/** Between two deploys, the first one included. */
const EVERY_MS = 3 * HOUR;
const KEEP_MS = 600_000;
const COLOS = 3;
const ISOLATES_PER_COLO = 2;
/** Of one isolate, on average. */
const LIFE_MS = 2 * HOUR;
const CHUNKS = 12;

/** A build: an entry that names half of its chunks, each of which names one of the others. Nobody can load what is named nowhere. */
function buildOf(release: number): Map<string, string> {
  const name = (file: string) => `${file}-${String(release * 7_919 + file.length).padStart(6, "0")}Ab.js`;
  const chunk = (n: number) => name(`chunk${n}`);
  const files = new Map<string, string>();
  const half = Array.from({ length: CHUNKS / 2 }, (_, n) => n);
  files.set(`/assets/${name("index")}`, half.map((n) => `import("./${chunk(n)}")`).join(";"));
  for (const n of half) {
    files.set(`/assets/${chunk(n)}`, `import("./${chunk(n + CHUNKS / 2)}")`);
    files.set(`/assets/${chunk(n + CHUNKS / 2)}`, "export default 1");
  }
  return files;
}

class Day {
  readonly clock = new Clock(START);
  readonly dice = new Dice(16, "tabs");
  readonly builds = Array.from({ length: DEPLOYS + 1 }, (_, n) => buildOf(n + 1));
  readonly missed: string[] = [];
  readonly asked = { serving: 0, warm: 0, gone: 0 };
  readonly #caches = Array.from({ length: COLOS }, () => cacheOf(this.clock));
  readonly #isolates: Isolate[] = [];
  loads = 0;

  constructor() {
    for (let n = 0; n < COLOS * ISOLATES_PER_COLO; n += 1) this.#isolateLives(n);
  }

  /** Fresh memory now and then, as at Cloudflare. */
  #isolateLives(n: number): void {
    this.#isolates[n] = this.#open(n);
    this.clock.after(this.dice.int(LIFE_MS / 2, LIFE_MS * 2), () => this.#isolateLives(n));
  }

  #open(n: number): Isolate {
    return openIsolate({
      clock: this.clock,
      dice: new Dice(n, "isolate"),
      fetch: (url) => this.#app(url),
      table: async () => ({ kind: "table", table: this.#table() }),
      meter: async () => {},
      copy: () => null,
      caches: this.#caches[n % COLOS] as Pick<CacheStorage, "open">,
    });
  }

  /** The release that serves, from 0, and the one that is warm. */
  #now(): { serving: number; warm: number | null } {
    const since = this.clock.now - START;
    const serving = Math.min(DEPLOYS, Math.floor(since / EVERY_MS));
    return { serving, warm: serving > 0 && since - serving * EVERY_MS < KEEP_MS ? serving - 1 : null };
  }

  #table(): RoutingTable {
    const { serving, warm } = this.#now();
    const named = (n: number, weightBp: number) => releaseOf(`r${n}`, weightBp, [`http://r${n}.test`]);
    return tableOf([], {
      version: 1 + serving * 2 + (warm === null ? 1 : 0),
      hostnames: ["shop.example.com"],
      releases: [...(warm === null ? [] : [named(warm, 0)]), named(serving, 10_000)],
      stable: `r${serving}`,
      assets: { also: [], from: [`r${serving}`, ...(warm === null ? [] : [`r${warm}`])] },
    });
  }

  async #app(url: string): Promise<unknown> {
    const { hostname, pathname } = new URL(url);
    const release = Number(/^r(\d+)/.exec(hostname)?.[1]);
    const { serving, warm } = this.#now();
    const role = release === serving ? "serving" : release === warm ? "warm" : "gone";
    this.asked[role] += 1;
    if (role === "gone") throw new Error("Network connection lost.");
    const text = this.builds[release]?.get(pathname);
    const headers = { "content-type": text === undefined ? "text/html" : "text/javascript" };
    return new Response(text ?? "nothing here", { status: text === undefined ? 404 : 200, headers });
  }

  /** A tab of v1: its entry, and parts of it over the rest of the day; now and then from somewhere else. */
  tab(n: number): void {
    const opened = START + this.dice.int(0, EVERY_MS - 60_000);
    const [entry = "", ...chunks] = this.builds[0]?.keys() ?? [];
    const home = this.dice.int(0, COLOS - 1);
    this.clock.at(opened, () => this.#load(n, entry, home));
    for (let load = 0; load < LOADS_PER_TAB; load += 1) {
      const colo = this.dice.chance(0.05) ? this.dice.int(0, COLOS - 1) : home;
      const path = this.dice.pick(chunks);
      this.clock.at(this.dice.int(opened, START + 24 * HOUR), () => this.#load(n, path, colo));
    }
  }

  #load(tab: number, path: string, colo: number): Promise<void> {
    this.loads += 1;
    const isolate = this.#isolates[colo + COLOS * this.dice.int(0, ISOLATES_PER_COLO - 1)];
    const request = { id: `t${tab}-${this.loads}`, method: "GET", cookie: null, path };
    // Not waited for: it may wait for virtual time itself.
    void isolate?.visit(request).then(({ status }) => {
      if (status !== 200) this.missed.push(`${path} ${status}`);
    });
    return macrotask();
  }
}

/** A data centre's cache: it keeps to `max-age`. */
function cacheOf(clock: Clock): Pick<CacheStorage, "open"> {
  const held = new Map<string, { response: Response; until: number }>();
  const cache = {
    match: async (key: string) => {
      const found = held.get(key);
      return found && found.until > clock.now ? found.response.clone() : undefined;
    },
    put: async (key: string, response: Response) => {
      const seconds = Number(/max-age=(\d+)/.exec(response.headers.get("cache-control") ?? "")?.[1]);
      held.set(key, { response, until: clock.now + seconds * 1_000 });
    },
  };
  return { open: async () => cache as unknown as Cache };
}

it("10,000 tabs of v1 find all their parts through six deploys within a day", async () => {
  const day = new Day();
  for (let n = 0; n < TABS; n += 1) day.tab(n);
  await day.clock.until(START + 24 * HOUR);
  await macrotask();
  expect(day.loads).toBe(TABS * (1 + LOADS_PER_TAB));
  expect(day.missed).toEqual([]);
  // All but what memories begin with goes straight to where the files are.
  expect(day.asked.serving).toBeLessThan(TABS * 2);
  expect(day.asked.gone).toBeLessThan(100);
});
