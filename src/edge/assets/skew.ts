/**
 * Pages of earlier releases are open for hours, and load parts of themselves late. A built asset that the serving release has
 * not is looked for in the releases that may still have it, then among kept copies. Never a page: that is the serving
 * release's to give.
 */

import { isAsset, isPage, pathOf } from "../../domain/routing/asset.ts";
import { chooseInstance, type Route } from "../../domain/routing/choose.ts";
import { TIMED_OUT, within } from "../deadline.ts";
import { forward, type Tried, triedOf } from "../forward.ts";
import { originHeaders } from "../headers.ts";
import { note } from "../health.ts";
import type { Passage } from "../passage.ts";
import { Budgets } from "../rescue/budget.ts";
import { type Delivery, unread } from "../rescue.ts";
import type { Visit } from "../visit.ts";
import { Keeper } from "./keeper.ts";
import { readKept } from "./kept.ts";

const ASK_DEADLINE_MS = 10_000;
/** Of one environment; the oldest go first. */
const MOST_REMEMBERED = 2_000;
const NOBODY_MS = 600_000;
const KEPT = "kept";

/** Where a path was found, or that nobody has it. */
interface Found {
  /** A release's id, `kept`, or null: nobody. */
  readonly where: string | null;
  /** Epoch ms. */
  readonly until: number;
}

interface Memory {
  /** It holds for the releases that there are. */
  route: Route;
  readonly found: Map<string, Found>;
}

export class Skew {
  readonly #keeper = new Keeper();
  readonly #memories = new Map<string, Memory>();
  /** Their own: made-up names must not use up what failed requests are rescued with. */
  readonly #budgets = new Budgets();

  /** What was found elsewhere before is asked for there at once; null, almost always: nothing was. */
  remembered({ visit, instance, isPinned }: Passage): Promise<Delivery | null> | null {
    const held = this.#memories.get(visit.route.table.environment);
    if (held === undefined || isPinned || visit.method !== "GET") return null;
    const path = pathOf(visit.url.target);
    const where = this.#memoryOf(visit.route).get(path)?.where ?? null;
    if (where === null || where === instance.release.id) return null;
    return this.#again(visit, instance, { path, where });
  }

  /** The delivery with what was found elsewhere in the place of a missing asset; null: nothing is missing. */
  patched(passage: Passage, delivery: Delivery): Promise<Delivery> | null {
    const { visit, isPinned } = passage;
    const { attempt, response, instance } = delivery.last;
    const { assets } = visit.route.table;
    if (assets === undefined || response === null || attempt.kind !== "answered") return null;
    if ((attempt.status !== 200 && attempt.status !== 404) || visit.method !== "GET" || isPinned) return null;
    const path = pathOf(visit.url.target);
    const isSettled = this.#keeper.hasSettled(visit, path);
    if (!isSettled && !isAsset(path, assets.also)) return null;
    // A single-page app answers whatever it has not with its page.
    if (attempt.status === 404 || isPage(response.headers.get("content-type")))
      return this.#elsewhere(passage, delivery, path);
    if (!isSettled) this.#keeper.want(visit, instance.release.id, path);
    return null;
  }

  async #again(
    visit: Visit,
    instance: Passage["instance"],
    { path, where }: { readonly path: string; readonly where: string },
  ): Promise<Delivery | null> {
    const tried = where === KEPT ? await fromKept(visit, instance, path) : await ask(visit, where);
    if (tried !== null && isGood(tried)) return { first: tried, last: tried, attempts: [tried] };
    if (tried !== null) unread(tried);
    this.#memoryOf(visit.route).delete(path);
    return null;
  }

  async #elsewhere({ visit }: Passage, delivery: Delivery, path: string): Promise<Delivery> {
    const memory = this.#memoryOf(visit.route);
    if (memory.get(path)?.where === null) return delivery;
    const asked = delivery.attempts.map(({ instance }) => instance.release.id);
    const [newest, ...older] = (visit.route.table.assets?.from ?? []).filter((id) => !asked.includes(id));
    let isSure = true;
    for (const where of newest === undefined ? [KEPT] : [newest, KEPT, ...older]) {
      const tried =
        where === KEPT
          ? await fromKept(visit, delivery.last.instance, path)
          : this.#budgets.pay(visit)
            ? await ask(visit, where)
            : null;
      if (tried !== null && isGood(tried)) {
        this.#remember(visit.route, path, where);
        unread(delivery.last);
        return { ...delivery, last: tried, attempts: [...delivery.attempts, tried] };
      }
      if (tried !== null) unread(tried);
      if (where !== KEPT && (tried === null || tried.verdict.error)) isSure = false;
    }
    if (isSure) this.#remember(visit.route, path, null);
    return delivery;
  }

  #remember(route: Route, path: string, where: string | null): void {
    const found = this.#memoryOf(route);
    found.delete(path);
    found.set(path, { where, until: Date.now() + NOBODY_MS });
    for (const oldest of found.keys()) {
      if (found.size <= MOST_REMEMBERED) return;
      found.delete(oldest);
    }
  }

  /** What is remembered for the releases that there are: another set of them may have what the last one had not. */
  #memoryOf(route: Route): Map<string, Found> {
    const { environment } = route.table;
    const held = this.#memories.get(environment);
    if (held !== undefined && (held.route === route || isSameSet(held.route, route))) {
      held.route = route;
      return held.found;
    }
    const found = new Map<string, Found>();
    this.#memories.set(environment, { route, found });
    return found;
  }
}

const isSameSet = (one: Route, other: Route): boolean =>
  one.table.assets?.from.join() === other.table.assets?.from.join();

/** The asset itself, and no page in its place. */
const isGood = ({ response, attempt }: Tried): boolean =>
  response !== null &&
  attempt.kind === "answered" &&
  [200, 206, 304].includes(attempt.status) &&
  !isPage(response.headers.get("content-type"));

/** The visitor's request at a release that may have it; null: it has nobody to ask, or gives no answer in time. */
async function ask(visit: Visit, id: string): Promise<Tried | null> {
  const release = visit.route.releases.find((candidate) => candidate.id === id);
  const errand = { turn: Math.floor(Math.random() * 1_000), isResendable: true, now: Date.now() };
  const to = release && chooseInstance(release, errand);
  if (!to) return null;
  const asked = forward(visit, to, { headers: originHeaders(visit), body: null });
  const tried = await within(asked, ASK_DEADLINE_MS);
  if (tried === TIMED_OUT) {
    asked.then(unread, () => {});
    return null;
  }
  note(tried, visit);
  return tried;
}

/** A copy in the place of an instance's answer, and nobody's merit. */
async function fromKept(visit: Visit, instance: Passage["instance"], path: string): Promise<Tried | null> {
  const startedAt = Date.now();
  const response = await readKept({ ...visit, path });
  if (response === null) return null;
  const attempt = { kind: "answered", status: 200, tunnelError: null } as const;
  const tried = triedOf(instance, attempt, response, startedAt);
  return { ...tried, verdict: { ...tried.verdict, isTrial: false } };
}
