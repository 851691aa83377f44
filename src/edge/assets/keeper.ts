/**
 * Fills the kept copies: an asset that a visitor got is asked for once more, behind the answer and as nobody, so that no
 * visitor's own answer is kept; and so is what it names, since a page may load that when its release has long gone.
 */
import { assetsIn } from "../../domain/routing/asset.ts";
import { chooseInstance, type RouteInstance } from "../../domain/routing/choose.ts";
import { readBody, textOf } from "../../streams/bounded-body.ts";
import type { Env } from "../env.ts";
import { forward } from "../forward.ts";
import { originHeaders, surveyHeaders } from "../headers.ts";
import { MIRROR_HEADER } from "../mirror.ts";
import type { Visit } from "../visit.ts";
import { keep, readKept } from "./kept.ts";

/** Of one environment, as far as this isolate remembers. */
const MOST_FILES = 1_000;
/** Behind one request, which may make 50 of its own on the Free plan. */
const FILES_PER_RUN = 12;
const RUN_MS = 20_000;
const SCANNED = { bytes: 2 * 1024 * 1024, ms: 5_000 };

/** Nothing of the request that wanted it but where it went: that may be over when its turn comes. */
interface Wanted extends Pick<Visit, "route" | "hostname" | "url"> {
  readonly release: string;
  readonly path: string;
}

export class Keeper {
  /** By environment: paths that are kept, wanted, or not to be kept. */
  readonly #known = new Map<string, Set<string>>();
  readonly #wanted: Wanted[] = [];
  /** Epoch ms. Past it a run counts as lost with the request that it was behind. */
  #busyUntil = 0;

  /** Nothing is left to do for this asset, nor for any other. */
  hasSettled({ route }: Visit, path: string): boolean {
    return this.#wanted.length === 0 && this.#known.get(route.table.environment)?.has(path) === true;
  }

  /** A visitor got this path from this release. */
  want(visit: Visit, release: string, path: string): void {
    const { route, hostname, url } = visit;
    this.#add({ route, hostname, url, release, path });
    if (this.#wanted.length === 0 || this.#busyUntil > visit.arrivedAt) return;
    this.#busyUntil = visit.arrivedAt + RUN_MS;
    visit.ctx.waitUntil(this.#run(visit.env, visit.ctx));
  }

  #add(wanted: Wanted): void {
    const { environment } = wanted.route.table;
    let known = this.#known.get(environment);
    if (known === undefined) {
      known = new Set();
      this.#known.set(environment, known);
    }
    if (known.size >= MOST_FILES || known.has(wanted.path)) return;
    known.add(wanted.path);
    this.#wanted.push(wanted);
  }

  async #run(env: Env, ctx: ExecutionContext): Promise<void> {
    const until = Date.now() + RUN_MS;
    for (let files = 0; files < FILES_PER_RUN && Date.now() < until; files += 1) {
      const wanted = this.#wanted.shift();
      if (wanted === undefined) break;
      await this.#keep(wanted, asNobody(wanted, env, ctx)).catch(() => this.#forget(wanted));
    }
    this.#busyUntil = 0;
  }

  async #keep(wanted: Wanted, visit: Visit): Promise<void> {
    const { path } = wanted;
    const copy = (await readKept({ ...visit, path })) ?? (await this.#fetch(wanted, visit));
    if (copy === null) return;
    if (!/javascript|css/.test(copy.headers.get("content-type") ?? "")) {
      await copy.body?.cancel();
      return;
    }
    const text = textOf(await readBody(copy.body, SCANNED));
    const { assets } = visit.route.table;
    for (const named of assetsIn(text, path, assets?.also ?? [], MOST_FILES))
      this.#add({ ...wanted, path: named });
  }

  async #fetch(wanted: Wanted, visit: Visit): Promise<Response | null> {
    const instance = instanceOf(wanted);
    if (instance === null) {
      this.#forget(wanted);
      return null;
    }
    const headers = originHeaders(visit);
    headers.set(MIRROR_HEADER, "1");
    const { response, verdict } = await forward(visit, instance, { headers, body: null });
    if (verdict.error) this.#forget(wanted);
    return response && keep({ ...visit, path: wanted.path }, response);
  }

  /** It may be wanted again. */
  #forget({ route, path }: Wanted): void {
    this.#known.get(route.table.environment)?.delete(path);
  }
}

function instanceOf({ route, release }: Wanted): RouteInstance | null {
  const own = route.releases.find(({ id }) => id === release);
  const errand = { turn: Math.floor(Math.random() * 1_000), isResendable: true, now: Date.now() };
  return own ? chooseInstance(own, errand) : null;
}

/** A request of nobody's: nothing that a visitor brought along goes with it. */
function asNobody({ route, hostname, url, path }: Wanted, env: Env, ctx: ExecutionContext): Visit {
  const headers = new Headers({ accept: "*/*", "accept-encoding": "identity" });
  return {
    request: new Request(`https://${hostname}${path}`, { headers }),
    method: "GET",
    isHarmless: true,
    env,
    ctx,
    url: { ...url, target: path },
    hostname,
    survey: surveyHeaders(headers),
    arrivedAt: Date.now(),
    route,
  };
}
