import type { z } from "zod";
import { type PlanView, planSchema } from "../../protocol/api/plans.ts";
import {
  type createPreviewSchema,
  type PreviewView,
  previewSchema,
} from "../../protocol/api/previews/pass.ts";
import { type CreateRelease, type ReleaseView, releaseSchema } from "../../protocol/api/releases.ts";
import {
  type ReplayView,
  replaySchema,
  type VerdictView,
  verdictSchema,
} from "../../protocol/api/verdicts.ts";
import { type FeedItem, type FollowOptions, followFeed } from "../feed.ts";
import type { Call } from "../transport.ts";
import { API, environmentPath, type Page, type PageQuery, parsed, seg, type Wire } from "../wire.ts";

interface KeyedTarget {
  readonly app: string;
  readonly environment: string;
  readonly idempotencyKey: string;
}
type CreatePreview = z.input<typeof createPreviewSchema>;

export class ReleaseCalls {
  readonly #wire: Wire;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  /** Starts a release. The same key and body again answer the same release, so this one is retried. */
  async create(at: KeyedTarget, body: CreateRelease): Promise<ReleaseView> {
    return (await this.createOrFind(at, body)).release;
  }

  /** As `create`, and whether it is the one that somebody else's request with the same key has made. */
  async createOrFind(
    at: KeyedTarget,
    body: CreateRelease,
  ): Promise<{ readonly release: ReleaseView; readonly isEarlier: boolean }> {
    const path = `${environmentPath(at.app, at.environment)}/releases`;
    const { idempotencyKey } = at;
    const call: Call = { method: "POST", path, json: body, idempotencyKey };
    const answer = await this.#wire.send(call);
    return { release: parsed(releaseSchema, call, answer), isEarlier: answer.isEarlier };
  }

  /** What a release would do; changes nothing. */
  plan(app: string, environment: string, body: CreateRelease): Promise<PlanView> {
    const path = `${environmentPath(app, environment)}/releases`;
    return this.#wire.parsed(planSchema, { method: "POST", path, query: { dryRun: 1 }, json: body });
  }

  /** Newest first. */
  list(app: string, environment: string, page: PageQuery = {}): Promise<Page<ReleaseView>> {
    return this.#wire.page(releaseSchema, `${environmentPath(app, environment)}/releases`, page);
  }

  get(id: string): Promise<ReleaseView> {
    return this.#wire.get(releaseSchema, `${API}/releases/${seg(id)}`);
  }

  /** A release's events until it is over, across lost connections. */
  follow(id: string, options: FollowOptions = {}): AsyncGenerator<FeedItem, void, void> {
    return followFeed(this.#wire.options, `${API}/releases/${seg(id)}/events`, options);
  }

  abort(id: string, body: { reason?: string } = {}): Promise<ReleaseView> {
    return this.#move(id, "abort", body);
  }

  /** Ends the current step, or with `full` all of them. `step` (0-based): the one that was seen; another is refused. */
  promote(id: string, body: { step?: number; full?: boolean } = {}): Promise<ReleaseView> {
    return this.#move(id, "promote", body);
  }

  /** Lets a release that waits for it go on. `digest`: the one that was seen; another is refused. */
  approve(id: string, body: { digest?: string; step?: number } = {}): Promise<ReleaseView> {
    return this.#move(id, "approve", body);
  }

  /** Ends a release that waits for an approval. */
  reject(id: string, body: { reason?: string } = {}): Promise<ReleaseView> {
    return this.#move(id, "reject", body);
  }

  /** Holds a release where it is. */
  pause(id: string, body: { step?: number } = {}): Promise<ReleaseView> {
    return this.#move(id, "pause", body);
  }

  resume(id: string, body: { step?: number } = {}): Promise<ReleaseView> {
    return this.#move(id, "resume", body);
  }

  /** A canary's judgements with their numbers, newest first. */
  verdicts(release: string, page: PageQuery = {}): Promise<Page<VerdictView>> {
    return this.#wire.page(verdictSchema, `${API}/releases/${seg(release)}/verdicts`, page);
  }

  /** How a release would have come out by the environment's limits of today, or by others. */
  replay(
    release: string,
    { errorRateMax, p95MaxMs }: { errorRateMax?: number | undefined; p95MaxMs?: number | undefined } = {},
  ): Promise<ReplayView> {
    const query = { errorRateMax: errorRateMax?.toString(), p95MaxMs: p95MaxMs?.toString() };
    const path = `${API}/releases/${seg(release)}/replay`;
    return this.#wire.parsed(replaySchema, { method: "GET", path, query });
  }

  /** A signed pass to a release, whatever its weight. */
  createPreview(release: string, body: CreatePreview = {}): Promise<PreviewView> {
    const path = `${API}/releases/${seg(release)}/preview`;
    return this.#wire.parsed(previewSchema, { method: "POST", path, json: body });
  }

  #move(id: string, verb: string, body: object): Promise<ReleaseView> {
    const path = `${API}/releases/${seg(id)}/${verb}`;
    return this.#wire.parsed(releaseSchema, { method: "POST", path, json: body });
  }
}
