import type { Control } from "../control/control.ts";
import type { Dice } from "../dice.ts";
import type { Attempt } from "../watch/visits.ts";
import type { Watch } from "../watch/watch.ts";
import type { World } from "../world.ts";
import { type Isolate, macrotask, openIsolate } from "./edge.ts";

const QUIET_EVERY_MS = 20_000;
const VISITORS = 60;
/** One in so many requests is a POST. */
const POSTS = 6;

/** Visitors that arrive all the time, through isolates of the real edge. */
export class Visitors {
  readonly #world: World;
  readonly #watch: Watch;
  readonly #control: Control;
  readonly #dice: Dice;
  #isolates: Isolate[] = [];
  #begun = 0;
  readonly #attempts = new Map<string, Attempt[]>();
  count = 0;

  constructor(world: World, watch: Watch, control: Control) {
    this.#world = world;
    this.#watch = watch;
    this.#control = control;
    this.#dice = world.dice("visitors");
    this.begin();
  }

  /** All isolates are fresh: none holds a table, none has counted. */
  begin(): void {
    const { clock, scenario } = this.#world;
    const control = this.#control;
    this.#begun += 1;
    this.#isolates = Array.from({ length: scenario.isolates }, (_, n) =>
      openIsolate({
        clock,
        dice: this.#world.dice(`isolate ${n}, ${this.#begun}`),
        fetch: (url, init) => this.#fetch(url, init),
        table: async (known) => {
          this.#reachControl();
          return control.tableFor(known);
        },
        meter: async (batch) => {
          this.#reachControl();
          control.judge.absorb(batch);
          if (batch.urgent) control.judgeNow();
        },
        copy: () => control.table ?? null,
      }),
    );
  }

  #reachControl(): void {
    if (this.#world.edgeCuts > 0 || !this.#control.isUp) throw new Error("control is unreachable");
  }

  arrive(): void {
    const { clock, scenario } = this.#world;
    const begin = clock.now;
    const next = () => {
      const isQuiet = clock.now - begin > scenario.quietAt;
      clock.after(isQuiet ? QUIET_EVERY_MS : scenario.visitEveryMs, next);
      return this.#visit();
    };
    clock.after(1_000, next);
  }

  #visit(): Promise<void> {
    const id = `visit-${++this.count}`;
    const isolate = this.#isolates[this.count % this.#isolates.length];
    const method = this.count % POSTS === 0 ? "POST" : "GET";
    const cookie = `visitor-${this.#dice.int(1, VISITORS)}`;
    const attempts: Attempt[] = [];
    const heardAt = isolate?.heardAt ?? 0;
    this.#attempts.set(id, attempts);
    isolate?.visit({ id, method, cookie }).then(
      (answer) => {
        this.#attempts.delete(id);
        this.#watch.visited({ id, method, heardAt, attempts, answer });
      },
      (error) => this.#world.fault("edge throws", String(error)),
    );
    return macrotask();
  }

  /** The way from the edge to an instance: tunnel, host, container. */
  async #fetch(url: string, init: { headers: Headers }): Promise<unknown> {
    const { hostname, port } = new URL(url);
    const host = this.#world.hosts.find(({ name }) => hostname === `${name}.test`);
    const slotId = `${host?.name}/${Number(port) - 20_000}`;
    const container = [...(host?.containers.values() ?? [])].find((one) => one.slotId === slotId);
    const attempt = { instance: container?.id ?? null, container };
    this.#attempts.get(init.headers.get("x-request-id") ?? "")?.push(attempt);
    if (!host?.isUp || host.cuts.visitors > 0) return answer(530, "error code: 1033");
    if (container?.state !== "ready") return answer(502, "bad gateway");
    if (container.isFrozen) return answer(524, "timed out");
    return answer(this.#dice.chance(container.errorRate) ? 500 : 200, "hello");
  }
}

/** As much of a `Response` as the edge looks at. */
const answer = (status: number, text: string) => ({
  status,
  ok: status < 300,
  headers: new Headers(),
  body: null,
  text: async () => text,
});
