import type { HostFactsReport } from "../../src/protocol/agent/host-facts.ts";
import { backOff, type Clock, jittered } from "../clock.ts";
import { Hysteresis } from "../instances/http-check.ts";
import type { Log } from "../log.ts";
import { causeOf, drawbackOf } from "./causes.ts";
import { type Connector, type Connectors, hashOf } from "./connectors.ts";
import { configVersionOf, countsOf, type Observed, observe, versionOf } from "./observe.ts";
import type { Wanted } from "./wanted.ts";

export type TunnelFacts = NonNullable<HostFactsReport["tunnel"]>;

const RESTARTS = { first: 1_000, max: 60_000 };
/** Three looks without a connection in a row are no blip; one with a connection is a connection. */
const HYSTERESIS = { failures: 3, successes: 1 };
/** A first connection takes seconds; after this long without one it is down, not starting. */
const STARTING_MS = 30_000;
/** One whose metrics port says nothing for so long gets a second one beside it. */
const HUNG_MS = 120_000;
const CONFIG_MS = 30_000;
const LINES_MS = 10_000;

export interface SupervisorDeps {
  connectors: Connectors;
  clock: Clock;
  log: Log;
}

interface Look {
  connector: Connector;
  seen: Observed;
}

/**
 * Keeps one cloudflared running with the wanted token. Whatever replaces another (a new token, one that hangs) is started
 * beside it, and the other is told to end only once the new one is connected: traffic sees no gap.
 */
export class Supervisor {
  readonly #deps: SupervisorDeps;
  readonly #health = new Hysteresis(HYSTERESIS, false);
  readonly #silentSince = new Map<string, number>();
  readonly #versions = new Map<string, string | undefined>();
  readonly #since: number;
  #starts = 0;
  #nextStart = 0;
  #wasConnected = false;
  #problem: string | undefined;
  #config: { version: number | undefined; at: number } | undefined;
  #lines: { cause: string | undefined; at: number; ready: boolean } | undefined;
  #facts: TunnelFacts = { state: "starting" };
  /** Of the one that carries the traffic. */
  #port: number | undefined;

  constructor(deps: SupervisorDeps) {
    this.#deps = deps;
    this.#since = deps.clock.monotonic();
  }

  get facts(): TunnelFacts {
    return this.#facts;
  }

  /** What the one that carries the traffic has counted. */
  counts(): ReturnType<typeof countsOf> {
    return this.#port === undefined ? Promise.resolve(undefined) : countsOf(this.#port);
  }

  /** Connected, and nothing is being replaced: the next look can wait. */
  get isCalm(): boolean {
    return this.#facts.state === "connected" && this.#starts === 0;
  }

  /** Looks once, and does what is due. */
  async tick(wanted: Wanted): Promise<void> {
    const { connectors } = this.#deps;
    const listed = await connectors.list();
    if (!listed.ok) {
      this.#problem = listed.error.message;
      this.#health.observe(false);
      return this.#settle(wanted, undefined);
    }
    for (const one of listed.value) if (!one.running) await this.#clearAway(one);
    const live = listed.value.filter(({ running, retiring }) => running && !retiring);
    const looks = await Promise.all(live.map((one) => this.#look(one)));
    const right = looks
      .filter(({ connector }) => connector.tokenHash === hashOf(wanted.token))
      .sort((a, b) => b.connector.startedAt - a.connector.startedAt);
    const ready = right.find(({ seen }) => seen.ready);
    if (ready) await this.#retireOthers(ready, looks);
    else if (this.#isStartDue(right)) await this.#start(wanted);
    const serving = ready ?? looks.find(({ seen }) => seen.ready) ?? right[0] ?? looks[0];
    this.#port = serving?.seen.answers ? serving.connector.port : undefined;
    this.#health.observe(serving?.seen.ready ?? false);
    await this.#settle(wanted, serving);
  }

  async #look(connector: Connector): Promise<Look> {
    const seen = await observe(connector.port);
    if (seen.answers) this.#silentSince.delete(connector.id);
    else if (!this.#silentSince.has(connector.id))
      this.#silentSince.set(connector.id, this.#deps.clock.monotonic());
    return { connector, seen };
  }

  async #clearAway(ended: Connector): Promise<void> {
    const { connectors, log } = this.#deps;
    if (ended.retiring) log.info("the cloudflared before has ended");
    else {
      const cause = causeOf(await connectors.lines(ended));
      this.#problem = `cloudflared ended${cause ? `: ${cause}` : ""}`;
      log.warn("cloudflared ended; it is started again", { cause });
    }
    this.#silentSince.delete(ended.id);
    this.#versions.delete(ended.id);
    await connectors.discard(ended);
  }

  async #retireOthers(ready: Look, looks: readonly Look[]): Promise<void> {
    const { connectors, log } = this.#deps;
    this.#starts = 0;
    this.#nextStart = 0;
    this.#problem = undefined;
    for (const { connector } of looks) {
      if (connector.id === ready.connector.id) continue;
      log.info("a new cloudflared is connected; the one before ends after its grace");
      await connectors.retire(connector);
    }
  }

  #isStartDue(right: readonly Look[]): boolean {
    const now = this.#deps.clock.monotonic();
    if (now < this.#nextStart) return false;
    if (right.length === 0) return true;
    const isHung = ({ connector }: Look) => now - (this.#silentSince.get(connector.id) ?? now) >= HUNG_MS;
    return right.length === 1 && right.every(isHung);
  }

  async #start({ token, rev }: Wanted): Promise<void> {
    const { connectors, clock, log } = this.#deps;
    this.#nextStart = clock.monotonic() + jittered(backOff(this.#starts++, RESTARTS));
    log.info("cloudflared starts", { as: connectors.kind, rev, attempt: this.#starts });
    const started = await connectors.start(token);
    if (started.ok) return;
    this.#problem = started.error.message;
    log.error("cloudflared does not start", { detail: started.error.message });
  }

  async #settle(wanted: Wanted, serving: Look | undefined): Promise<void> {
    const before = this.#facts.state;
    const state = this.#state();
    const config = serving?.seen.ready ? await this.#configVersion(serving, wanted) : undefined;
    const version = serving?.seen.answers ? await this.#versionOf(serving) : undefined;
    const cause = (await this.#cause(state, serving)) ?? otherRules(config, wanted.configVersion);
    this.#facts = {
      state,
      ...(version && { version }),
      ...(config !== undefined && { configVersion: config }),
      ...(serving?.seen.connections !== undefined && { readyConnections: serving.seen.connections }),
      ...(cause && { cause: cause.slice(0, 500) }),
    };
    if (state === before) return;
    const log = state === "down" ? this.#deps.log.warn : this.#deps.log.info;
    log(`tunnel ${state}`, { connections: serving?.seen.connections, cause });
  }

  #state(): TunnelFacts["state"] {
    if (this.#health.healthy) {
      this.#wasConnected = true;
      return "connected";
    }
    const isYoung = this.#deps.clock.monotonic() - this.#since < STARTING_MS;
    return !this.#wasConnected && isYoung ? "starting" : "down";
  }

  /** Asked for often only until what control wrote is what runs. */
  async #configVersion({ connector }: Look, wanted: Wanted): Promise<number | undefined> {
    const now = this.#deps.clock.monotonic();
    const known = this.#config;
    const isFresh = known && (known.version ?? 0) >= wanted.configVersion && now - known.at < CONFIG_MS;
    if (isFresh) return known.version;
    this.#config = { version: await configVersionOf(connector.port), at: now };
    return this.#config.version;
  }

  async #versionOf({ connector }: Look): Promise<string | undefined> {
    if (!this.#versions.has(connector.id)) this.#versions.set(connector.id, await versionOf(connector.port));
    return this.#versions.get(connector.id);
  }

  async #cause(state: TunnelFacts["state"], serving: Look | undefined): Promise<string | undefined> {
    const isReady = serving?.seen.ready ?? false;
    const said = serving && (await this.#said(serving.connector, isReady));
    if (state === "connected") return isReady ? said : undefined;
    return (
      said ?? this.#problem ?? (state === "down" ? "cloudflared has no connection to Cloudflare" : undefined)
    );
  }

  async #said(connector: Connector, ready: boolean): Promise<string | undefined> {
    const now = this.#deps.clock.monotonic();
    if (this.#lines && this.#lines.ready === ready && now - this.#lines.at < LINES_MS)
      return this.#lines.cause;
    const lines = await this.#deps.connectors.lines(connector);
    this.#lines = { cause: ready ? drawbackOf(lines) : causeOf(lines), at: now, ready };
    return this.#lines.cause;
  }
}

/** Cloudflare hands rules to cloudflared by itself: only what lasts is worth a look, and this says what it is. */
const otherRules = (runs: number | undefined, wanted: number) =>
  runs !== undefined && runs < wanted
    ? `cloudflared runs ingress rules of version ${runs}, control wrote ${wanted}: Cloudflare has not delivered them yet`
    : undefined;
