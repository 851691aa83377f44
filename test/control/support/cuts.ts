import { abortAllDurableObjects } from "cloudflare:test";
import { env } from "cloudflare:workers";
import type { Stage } from "./stage.ts";

/** Whether what a coordinator is in the middle of when it ends is still done, with an answer that nobody hears, or not. */
export type Cut = "before" | "after";

/** These only lead to a call. */
const LEADING = new Set(["getByName", "prepare", "bind"]);
/** What runs beside a turn has begun by then, if it does. */
const BESIDE_MS = 10;

/**
 * Ends a coordinator at whatever it does outside of itself: D1, KV, hosts' links, the meter. Its first life ends at its first
 * call, the second one at its second, and so on, until a life comes to rest: so each await of a turn is an end once.
 */
export class Cuts {
  /** Where each life ended, in words. */
  readonly ends: string[] = [];
  readonly #stage: Stage;
  readonly #cut: Cut;
  #calls = 0;
  #last = 1;
  #isDead = false;
  readonly #open = new Set<Promise<unknown>>();
  #end: () => void = () => {};

  constructor(stage: Stage, cut: Cut) {
    this.#stage = stage;
    this.#cut = cut;
  }

  /** Does it with a coordinator that may end meanwhile. False: it did. */
  async through(work: () => Promise<unknown>): Promise<boolean> {
    // What ran on beside the turn before came to its end after it.
    if (this.#isDead) await this.#bury();
    const { over } = await this.#begin();
    const done = work().catch(() => "refused");
    const pause = new Promise((resolve) => setTimeout(resolve, BESIDE_MS));
    const first = await Promise.race([done, over]);
    if (first !== "dead" && (await Promise.race([pause, over])) !== "dead") return true;
    await this.#bury();
    return false;
  }

  async #bury(): Promise<void> {
    // Not from within what is to end.
    await new Promise((resolve) => setTimeout(resolve, 1));
    await abortAllDurableObjects();
    this.#isDead = false;
  }

  #begin(): Promise<{ over: Promise<"dead"> }> {
    this.#calls = 0;
    this.#open.clear();
    this.#last = this.ends.length + 1;
    return this.#stage.inside((coordinator) => {
      const { DB, TABLES, HOST_LINK, METER } = env;
      const bindings = { DB, TABLES, HOST_LINK, METER };
      // Nobody depends on it, and it would be at D1 by itself.
      const NOTIFIER = { getByName: () => ({ poke: async () => {} }) };
      const cut = Object.entries(bindings).map(([name, one]) => [name, this.#wrapped(name, one)]);
      const value = { ...env, ...Object.fromEntries(cut), NOTIFIER };
      Object.defineProperty(coordinator, "env", { value, configurable: true });
      coordinator.useDatabase(value.DB);
      // A promise of its own world: it may be resolved there, and waited for here.
      const over = new Promise<"dead">((resolve) => {
        this.#end = () => resolve("dead");
      });
      return { over };
    });
  }

  #wrapped<T extends object>(name: string, target: T): T {
    return new Proxy(target, {
      get: (of, key) => {
        const value = Reflect.get(of, key);
        if (typeof value !== "function") return value;
        const words = `${name}.${String(key)}`;
        if (LEADING.has(String(key)))
          return (...args: unknown[]) => this.#wrapped(words, Reflect.apply(value, of, args));
        return (...args: unknown[]) => this.#call(words, () => Reflect.apply(value, of, args));
      },
    });
  }

  async #call(words: string, call: () => Promise<unknown>): Promise<unknown> {
    this.#calls += 1;
    const last = this.#last;
    if (this.#calls > last) return new Promise(() => {});
    const isLast = this.#calls === last;
    if (!isLast || this.#cut === "after") {
      const answer = call();
      this.#open.add(answer);
      await answer.catch(() => {}).finally(() => this.#open.delete(answer));
      if (!isLast) return answer;
    }
    // What was asked for at the same time has reached its end: only its answer is lost.
    await Promise.allSettled(this.#open);
    this.ends.push(words);
    this.#isDead = true;
    this.#end();
    return new Promise(() => {});
  }
}
