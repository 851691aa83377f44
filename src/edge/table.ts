/**
 * The routing tables this isolate holds. A table in memory is used as it is for a second, then refreshed behind requests for as
 * long as it says itself (at rest a minute, two seconds while something moves), and waited for after that: with the colo
 * cache's share, a change is in force within STALENESS_BOUND_MS wherever there is traffic.
 * Whatever fails, the last good table serves on; only control's own word takes a hostname away. Control's word may also be that
 * the copy in KV is gone: whoever has heard nothing else for long looks there, since slots may have changed hands.
 */
import { compileRoute, type Route } from "../domain/routing/choose.ts";
import { registeredName, wildcardsOver } from "../domain/routing/hostname.ts";
import { MOVING_STALE_MS, type RoutingTable, supersedes, type TableAnswer } from "../domain/routing/table.ts";
import { parseTable } from "../domain/routing/table-shape.ts";
import { TIMED_OUT, within } from "./deadline.ts";
import type { Env } from "./env.ts";
import { logWarning } from "./log.ts";
import { readColoCache, readKv, readKvPaths, UNREADABLE, writeColoCache } from "./tables/copies.ts";
import { Listing } from "./tables/listing.ts";
import { Paths } from "./tables/paths.ts";
import { Until } from "./tables/until.ts";
import { Waiting } from "./waiting.ts";

const FRESH_MS = 1_000;
/** A table that nobody vouched for in this long may name slots that are stopped: a newer one is worth waiting for. */
const OLD_MS = 10_000;
/** After a failed refresh nobody waits for the next ones, until this long without traffic. */
const FAILING_MS = 10_000;
const REFRESH_DEADLINE_MS = 1_000;
/** What control says later than anybody waits for it is news all the same. */
const ASK_DEADLINE_MS = 10_000;
const COLD_DEADLINE_MS = 3_000;
/**
 * How long a table serves on without control before its copy is asked. A slot rests for longer than this after its last
 * instance, and control overwrites or deletes the copies before another app gets it.
 */
const TRUST_MS = 600_000;
/** When the copy can't be read either: traffic first, and it is tried again. */
const TRUST_AGAIN_MS = 30_000;
/** A full table is asked for this often even if the version is unchanged: a hostname may have changed environments. */
const WHOLE_EVERY_MS = 30_000;
const UNKNOWN_MS = 1_000;
const UNKNOWN_MOST = 1_000;
/** A name that has no copy is not looked for again so soon; control is asked all the same. */
const COPYLESS_MS = 30_000;

/** `unknown`: control says nobody owns the hostname. `unavailable`: no table could be had from anywhere. */
export type Lookup = Route | "unknown" | "unavailable";

interface Held {
  route: Route;
  /** Of a wildcard: names below it that are somebody's own. Undefined: this is one name's. */
  except?: ReadonlySet<string> | undefined;
  /** Epoch ms at which control last vouched for it; 0 when it came from KV. */
  checkedAt: number;
  /** Epoch ms at which control last sent it whole. */
  wholeAt: number;
  /** Epoch ms until which it serves without control. */
  trustedUntil: number;
  /** When the last refresh that failed, or was too slow, was asked for, epoch ms; 0: the last one was good. */
  failedAt: number;
}

export class Tables {
  readonly waiting = new Waiting();
  /** By site; one that a wildcard leads here is found by the wildcard, so that made-up names take no room. */
  readonly #held = new Map<string, Held>();
  readonly #wildcards = new Set<string>();
  /** Names that are held by a wildcard's copy, oldest first. */
  readonly #borrowed = new Set<string>();
  readonly #paths = new Paths();
  readonly #unknown = new Until(UNKNOWN_MOST);
  readonly #copyless = new Until(UNKNOWN_MOST);
  readonly #listing = new Listing();
  /** Epoch ms until which a refresh counts as under way; past it, it is lost with the request that made it. */
  readonly #refreshing = new Map<string, number>();

  /** The hot path: the table in memory if it needs no refresh, without a promise. */
  fresh(hostname: string, target: string, now: number): Route | null {
    if (this.#paths.size > 0 && this.#paths.has(hostname)) return this.#freshBelow(hostname, target, now);
    let held = this.#held.get(hostname);
    if (held === undefined && this.#wildcards.size > 0) held = this.#held.get(this.#keyOf(hostname));
    return held !== undefined && now - held.checkedAt <= FRESH_MS ? held.route : null;
  }

  /** `target`: path and query, since another environment may have a part of the hostname's paths. */
  async find(hostname: string, target: string, env: Env, ctx: ExecutionContext): Promise<Lookup> {
    const whole = this.#paths.has(hostname) ? null : await this.#findAt(hostname, env, ctx);
    if (whole !== null && !this.#paths.has(hostname)) return whole;
    if (this.#paths.isOlder(hostname, Date.now() - WHOLE_EVERY_MS)) this.#refresh(hostname, env, ctx);
    let idle: Route | null = null;
    for (const site of this.#paths.over(hostname, target)) {
      const own = await this.#findAt(site, env, ctx);
      if (own === "unknown") this.#paths.forget(hostname, site);
      else if (own === "unavailable" || isCarrying(own)) return own;
      else idle ??= own;
    }
    const rest = whole ?? (await this.#findAt(hostname, env, ctx));
    return rest === "unknown" ? (idle ?? rest) : rest;
  }

  /** Until a path's first release is live, it leads where it did before. */
  #freshBelow(hostname: string, target: string, now: number): Route | null {
    if (this.#paths.isOlder(hostname, now - WHOLE_EVERY_MS)) return null;
    for (const site of [...this.#paths.over(hostname, target), this.#keyOf(hostname)]) {
      const held = this.#held.get(site);
      if (held === undefined || now - held.checkedAt > FRESH_MS) return null;
      if (isCarrying(held.route)) return held.route;
    }
    return null;
  }

  async #findAt(name: string, env: Env, ctx: ExecutionContext): Promise<Lookup> {
    const now = Date.now();
    const hostname = this.#keyOf(name);
    const held = this.#held.get(hostname);
    if (held === undefined) return this.#findCold(hostname, env, ctx);
    const isFailing = now - held.failedAt <= FAILING_MS && now < held.trustedUntil;
    if (now - held.checkedAt <= (held.route.table.staleMs ?? MOVING_STALE_MS) || isFailing) {
      if (now - Math.max(held.checkedAt, held.failedAt) > FRESH_MS) this.#refresh(hostname, env, ctx);
      return held.route;
    }
    const isOld = now - held.checkedAt > OLD_MS;
    await this.#waitForRefresh(hostname, env, ctx, isOld ? COLD_DEADLINE_MS : REFRESH_DEADLINE_MS);
    return this.#current(hostname);
  }

  /** Asks control now, unless a refresh is under way or just was: for when no instance of the table is usable. */
  async refreshed(name: string, target: string, env: Env, ctx: ExecutionContext): Promise<Lookup> {
    const isOwn = (site: string) => isCarrying(this.#held.get(site)?.route);
    const hostname = this.#paths.over(name, target).find(isOwn) ?? this.#keyOf(name);
    const held = this.#held.get(hostname);
    const now = Date.now();
    if (held !== undefined && now - Math.max(held.checkedAt, held.failedAt) > FRESH_MS / 4) {
      await this.#waitForRefresh(hostname, env, ctx, REFRESH_DEADLINE_MS);
    }
    return this.#current(hostname);
  }

  async #findCold(hostname: string, env: Env, ctx: ExecutionContext): Promise<Lookup> {
    if (this.#unknown.holds(hostname, Date.now())) return "unknown";
    await this.#waitForRefresh(hostname, env, ctx, COLD_DEADLINE_MS);
    return this.#current(hostname);
  }

  /** The name that a hostname's table is held under: its own, or the longest wildcard's that is held and has no exception for it. */
  #keyOf(hostname: string): string {
    if (this.#wildcards.size === 0 || this.#held.has(hostname)) return hostname;
    // The longest that is held; those between the name and it are somebody's own only if it excepts them.
    const over = wildcardsOver(hostname);
    const at = over.findIndex((name) => this.#wildcards.has(name));
    const key = over[at];
    const except = key === undefined ? undefined : this.#held.get(key)?.except;
    if (key === undefined || except === undefined || except.has(hostname)) return hostname;
    return over.slice(0, at).some((name) => except.has(name)) ? hostname : key;
  }

  #current(hostname: string): Lookup {
    return (
      this.#held.get(this.#keyOf(hostname))?.route ??
      (this.#unknown.holds(hostname, Date.now()) ? "unknown" : "unavailable")
    );
  }

  /** One refresh per hostname at a time, behind whichever request came first. */
  #refresh(hostname: string, env: Env, ctx: ExecutionContext): void {
    const now = Date.now();
    if ((this.#refreshing.get(hostname) ?? 0) > now) return;
    const until = now + COLD_DEADLINE_MS;
    this.#refreshing.set(hostname, until);
    const over = () => {
      if (this.#refreshing.get(hostname) === until) this.#refreshing.delete(hostname);
    };
    ctx.waitUntil(this.#ask(hostname, env, ctx, over).finally(over));
  }

  /**
   * Waits for the refresh under way, whoever makes it. By looking, not by its promise: that belongs to the request that
   * makes it, and workerd cancels a request that waits for another's.
   */
  async #waitForRefresh(hostname: string, env: Env, ctx: ExecutionContext, ms: number): Promise<void> {
    const deadline = Date.now() + ms;
    this.#refresh(hostname, env, ctx);
    for (
      let pause = 1;
      this.#refreshing.has(hostname) && Date.now() < deadline;
      pause = Math.min(pause * 2, 20)
    ) {
      await scheduler.wait(pause);
    }
  }

  /** `over`: whoever waits for it need not any more. What control says after that is heard all the same. */
  async #ask(hostname: string, env: Env, ctx: ExecutionContext, over: () => void): Promise<void> {
    const held = this.#held.get(hostname);
    const cached = await readColoCache(hostname, Date.now() - FRESH_MS);
    if (cached !== null && this.#accept(hostname, cached, cached.at)) return;
    const known =
      held !== undefined && Date.now() - held.wholeAt < WHOLE_EVERY_MS ? held.route.table.version : null;
    const asked = Date.now();
    const asking = askControl(env, hostname, known);
    const isOld = held !== undefined && asked - held.checkedAt > OLD_MS && asked < held.trustedUntil;
    const soon = await within(asking, isOld ? COLD_DEADLINE_MS : REFRESH_DEADLINE_MS);
    if (soon !== TIMED_OUT && this.#hear(hostname, soon, asked, ctx)) return;
    if (held !== undefined) this.#noteFailure(hostname, held, asked);
    if (held === undefined || Date.now() >= held.trustedUntil) await this.#askCopy(hostname, env);
    over();
    if (soon !== TIMED_OUT) return;
    this.#hear(hostname, await asking, asked, ctx);
    // Control is slow, and may be again: nobody waits for it for a while.
    const late = this.#held.get(hostname);
    if (late !== undefined) late.failedAt = asked;
  }

  /** Does what control said. False: it said nothing that is of use. */
  #hear(hostname: string, answer: TableAnswer | null, asked: number, ctx: ExecutionContext): boolean {
    const held = this.#held.get(hostname);
    if (answer?.kind === "unknown") {
      if (held === undefined || held.checkedAt <= asked) this.#forget(hostname);
      this.#paths.learn(hostname, answer.paths, asked);
      return true;
    }
    if (answer?.kind === "table") {
      if (!this.#accept(hostname, answer, asked)) return false;
      ctx.waitUntil(writeColoCache(hostname, answer, asked));
      return true;
    }
    if (answer === null || held?.route.table.version !== answer.version) return false;
    held.checkedAt = Math.max(held.checkedAt, asked);
    held.trustedUntil = Math.max(held.trustedUntil, asked + TRUST_MS);
    held.failedAt = 0;
    ctx.waitUntil(
      writeColoCache(
        hostname,
        {
          table: held.route.table,
          except: held.except && [...held.except],
          paths: this.#paths.of(hostname),
        },
        asked,
      ),
    );
    return true;
  }

  /** `asked`: from then on the next one is due, whether an answer comes late or never. */
  #noteFailure(hostname: string, held: Held, asked: number): void {
    const { environment, version } = held.route.table;
    const detail = `no newer one was to be had: serving version ${version}`;
    if (held.failedAt === 0) logWarning("table.stale", { hostname, environment, detail });
    held.failedAt = asked;
  }

  /** Without control: takes the copy, or takes its absence for control's word that the hostname is nobody's any more. */
  async #askCopy(hostname: string, env: Env): Promise<void> {
    if (this.#copyless.holds(hostname, Date.now())) return;
    const copy = await readKv(env, hostname);
    const held = this.#held.get(hostname);
    if (copy?.table === UNREADABLE) {
      if (held !== undefined) held.trustedUntil = Date.now() + TRUST_AGAIN_MS;
      return;
    }
    if (this.#listing.takes(hostname, copy?.isOwn === true, Date.now())) {
      const paths = await readKvPaths(env, hostname);
      if (paths !== null) this.#paths.learn(hostname, paths, Date.now());
    }
    if (copy !== null) {
      this.#accept(hostname, copy, 0);
      // An older copy, or one that is refused, takes nothing away.
      if (held !== undefined) held.trustedUntil = Date.now() + TRUST_MS;
      return;
    }
    this.#copyless.note(hostname, Date.now() + COPYLESS_MS);
    if (held !== undefined) {
      logWarning("table.gone", { hostname, detail: "control is silent, and took its copy away" });
      this.#drop(hostname);
    }
  }

  /** Takes a table in, unless it is malformed, foreign or older than the one held. `at`: when control vouched for it. */
  #accept(hostname: string, { table: candidate, except, paths }: Candidate, at: number): boolean {
    const parsed = parseTable(candidate);
    if (!parsed.ok) {
      logWarning("table.refused", { hostname, detail: parsed.error });
      return false;
    }
    const table = parsed.value;
    const name = registeredName(table.hostnames, hostname);
    // Without what is excepted from it, a wildcard's table is this one name's.
    const key = name !== undefined && except !== undefined ? name : hostname;
    const held = this.#held.get(key);
    if (held !== undefined && !supersedes(table, held.route.table)) return false;
    if (name === undefined) {
      const detail = `version ${table.version} is for ${table.hostnames.join(", ")}`;
      logWarning("table.refused", { hostname, environment: table.environment, detail });
      return false;
    }
    this.#unknown.forget(hostname);
    if (at > 0) this.#paths.learn(hostname, paths, at);
    this.#hold(key, table, at);
    this.#except(key, hostname, except);
    return true;
  }

  #except(key: string, hostname: string, except: readonly string[] | undefined): void {
    const held = this.#held.get(key);
    if (held === undefined || except === undefined || !key.startsWith("*.")) return this.#bound(key);
    held.except = new Set(except);
    this.#wildcards.add(key);
    if (key !== hostname) this.#held.delete(hostname);
  }

  /** Names that wildcards' copies answer for while control is away are anybody's to make up. */
  #bound(key: string): void {
    if (this.#held.get(key)?.route.table.hostnames.includes(key)) return;
    this.#borrowed.delete(key);
    this.#borrowed.add(key);
    for (const oldest of this.#borrowed) {
      if (this.#borrowed.size <= UNKNOWN_MOST) return;
      this.#borrowed.delete(oldest);
      this.#held.delete(oldest);
    }
  }

  #drop(key: string): void {
    this.#held.delete(key);
    this.#wildcards.delete(key);
  }

  #hold(hostname: string, table: RoutingTable, at: number): void {
    const held = this.#held.get(hostname);
    const failedAt = at === 0 ? Date.now() : 0;
    const trustedUntil = (at === 0 ? Date.now() : at) + TRUST_MS;
    if (held?.route.table.environment === table.environment && held.route.table.version === table.version) {
      held.checkedAt = Math.max(held.checkedAt, at);
      held.wholeAt = Math.max(held.wholeAt, at);
      held.trustedUntil = Math.max(held.trustedUntil, trustedUntil);
      held.failedAt = failedAt;
      return;
    }
    const route = compileRoute(table, held?.route ?? null);
    for (const origin of route.refusedOrigins) {
      const detail = `${origin}: its host must end in ${table.originSuffixes.join(" or ")}`;
      logWarning("origin.refused", { hostname, environment: table.environment, detail });
    }
    this.#held.set(hostname, { route, checkedAt: at, wholeAt: at, trustedUntil, failedAt });
    this.waiting.recall(route);
  }

  #forget(hostname: string): void {
    this.#drop(hostname);
    this.#unknown.note(hostname, Date.now() + UNKNOWN_MS);
  }
}

/** What control or the colo's copy says; of a wildcard with the names below it that are somebody's own. */
interface Candidate {
  readonly table: unknown;
  readonly except?: readonly string[] | undefined;
  readonly paths?: readonly string[] | undefined;
}

/** It gives visits to somebody: a release holds its traffic. */
const isCarrying = (route: Route | undefined): boolean => route !== undefined && route.dealt.length > 0;

/** Control's answer, or null when it failed or does not come any more. */
async function askControl(env: Env, hostname: string, known: number | null): Promise<TableAnswer | null> {
  try {
    const answer = await within(env.CONTROL.table(hostname, known), ASK_DEADLINE_MS);
    return answer === TIMED_OUT ? null : answer;
  } catch {
    // Control is down, being deployed or broken: the table held goes on serving, and the caller says so in the log.
    return null;
  }
}
