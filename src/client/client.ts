import { z } from "zod";
import { type AccessoryView, accessorySchema } from "../protocol/api/accessories.ts";
import { type ApplyAnswer, type AppView, applyAnswerSchema, appSchema } from "../protocol/api/apps.ts";
import { type DoctorView, doctorSchema } from "../protocol/api/doctor.ts";
import { type EndingView, endingSchema } from "../protocol/api/endings.ts";
import {
  type createEnrollmentSchema,
  type EnrollmentView,
  enrollmentSchema,
} from "../protocol/api/enrollments.ts";
import { type EnvironmentView, environmentSchema } from "../protocol/api/environments.ts";
import { type EventView, eventSchema } from "../protocol/api/events.ts";
import { healthAnswerSchema } from "../protocol/api/health.ts";
import {
  type HostView,
  hostSchema,
  type RotatedTunnelView,
  rotatedTunnelSchema,
} from "../protocol/api/hosts.ts";
import type { createLockSchema, createMaintenanceSchema } from "../protocol/api/modes.ts";
import { type RollbackAnswer, rollbackAnswerSchema, type Weights } from "../protocol/api/moves.ts";
import {
  type MOVES,
  type MovePlanView,
  movePlanSchema,
  type PlanView,
  planSchema,
} from "../protocol/api/plans.ts";
import { type createPreviewSchema, type PreviewView, previewSchema } from "../protocol/api/previews.ts";
import { type CreateRelease, type ReleaseView, releaseSchema } from "../protocol/api/releases.ts";
import { pageOf } from "../protocol/api/scalars.ts";
import {
  createdTokenSchema,
  type createTokenSchema,
  type TokenView,
  tokenSchema,
} from "../protocol/api/tokens.ts";
import { type VerdictView, verdictSchema } from "../protocol/api/verdicts.ts";
import { type HostnameGrantView, hostnameGrantSchema } from "../protocol/hostnames.ts";
import {
  type RegistryView,
  type ResealAnswer,
  registrySchema,
  resealAnswerSchema,
  type SecretView,
  type SetSecretAnswer,
  secretSchema,
  setSecretAnswerSchema,
} from "../protocol/secrets.ts";
import { ApiError, ProtocolError } from "./errors.ts";
import { type FeedItem, type FollowOptions, followFeed } from "./feed.ts";
import { followLogs, type LogItem, type LogsOptions } from "./logs.ts";
import { type Answer, type Call, type ClientOptions, parseJson, send } from "./transport.ts";

export interface Page<T> {
  readonly items: readonly T[];
  readonly nextCursor: string | null;
}
export interface PageQuery {
  readonly cursor?: string | undefined;
  readonly limit?: number | undefined;
}
export type CreateEnrollment = z.input<typeof createEnrollmentSchema>;
export type CreateLock = z.input<typeof createLockSchema>;
export type CreateMaintenance = z.input<typeof createMaintenanceSchema>;
export type CreatePreview = z.input<typeof createPreviewSchema>;
export type CreateToken = z.input<typeof createTokenSchema>;
export type CreatedToken = z.infer<typeof createdTokenSchema>;
export type HealthAnswer = z.infer<typeof healthAnswerSchema>;

const API = "/api/v1";
const seg = encodeURIComponent;

/**
 * The API as methods, one per endpoint. Answers are parsed by the protocol's schemas. Every method throws ApiError
 * (control said no), ConnectionError (nobody knows what happened) or ProtocolError (that isn't Sluice).
 *
 *     const client = new Client({ url: "https://sluice.example.com", token: "slu_…" });
 *     const { environment } = await client.environment("shop", "production");
 */
export class Client {
  readonly #options: ClientOptions;

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  /** Applies a manifest's text; with `dryRun` only answers what would change. `claim`: hostnames of other sites, too. */
  apply(
    app: string,
    manifest: string,
    options: { dryRun?: boolean; claim?: boolean } = {},
  ): Promise<ApplyAnswer> {
    return this.#parsed(applyAnswerSchema, {
      method: "PUT",
      path: `${API}/apps/${seg(app)}`,
      query: { dryRun: options.dryRun ? 1 : undefined, claim: options.claim ? 1 : undefined },
      text: { body: manifest, type: "application/yaml" },
    });
  }

  apps(page: PageQuery = {}): Promise<Page<AppView>> {
    return this.#page(appSchema, `${API}/apps`, page);
  }

  app(app: string): Promise<AppView> {
    return this.#get(appSchema, `${API}/apps/${seg(app)}`);
  }

  /** An environment and its ETag, for `setWeights`. */
  async environment(
    app: string,
    environment: string,
  ): Promise<{ environment: EnvironmentView; etag: string | undefined }> {
    const call: Call = { method: "GET", path: environmentPath(app, environment) };
    const answer = await send(this.#options, call);
    return {
      environment: parse(environmentSchema, call, answer),
      etag: answer.headers.get("etag") ?? undefined,
    };
  }

  /** Starts a release. The same key and body again answer the same release, so this one is retried. */
  createRelease(
    at: { app: string; environment: string; idempotencyKey: string },
    body: CreateRelease,
  ): Promise<ReleaseView> {
    const path = `${environmentPath(at.app, at.environment)}/releases`;
    const { idempotencyKey } = at;
    return this.#parsed(releaseSchema, { method: "POST", path, json: body, idempotencyKey });
  }

  /** What a release would do; changes nothing. */
  planRelease(app: string, environment: string, body: CreateRelease): Promise<PlanView> {
    const path = `${environmentPath(app, environment)}/releases`;
    return this.#parsed(planSchema, { method: "POST", path, query: { dryRun: 1 }, json: body });
  }

  /** Newest first. */
  releases(app: string, environment: string, page: PageQuery = {}): Promise<Page<ReleaseView>> {
    return this.#page(releaseSchema, `${environmentPath(app, environment)}/releases`, page);
  }

  release(id: string): Promise<ReleaseView> {
    return this.#get(releaseSchema, `${API}/releases/${seg(id)}`);
  }

  /** A release's events until it is over, across lost connections. */
  followRelease(id: string, options: FollowOptions = {}): AsyncGenerator<FeedItem, void, void> {
    return followFeed(this.#options, `${API}/releases/${seg(id)}/events`, options);
  }

  /** The log lines of an environment's instances, of all hosts in one, across lost connections. */
  logs(app: string, environment: string, options: LogsOptions = {}): AsyncGenerator<LogItem, void, void> {
    return followLogs(this.#options, `${environmentPath(app, environment)}/logs`, options);
  }

  abortRelease(id: string, body: { reason?: string } = {}): Promise<ReleaseView> {
    return this.#move(id, "abort", body);
  }

  /** Ends the current step, or with `full` all of them. `step` (0-based): the one that was seen; another is refused. */
  promoteRelease(id: string, body: { step?: number; full?: boolean } = {}): Promise<ReleaseView> {
    return this.#move(id, "promote", body);
  }

  /** Holds a release where it is. */
  pauseRelease(id: string, body: { step?: number } = {}): Promise<ReleaseView> {
    return this.#move(id, "pause", body);
  }

  resumeRelease(id: string, body: { step?: number } = {}): Promise<ReleaseView> {
    return this.#move(id, "resume", body);
  }

  /** A canary's judgements with their numbers, newest first. */
  verdicts(release: string, page: PageQuery = {}): Promise<Page<VerdictView>> {
    return this.#page(verdictSchema, `${API}/releases/${seg(release)}/verdicts`, page);
  }

  /** A signed pass to a release, whatever its weight. */
  createPreview(release: string, body: CreatePreview = {}): Promise<PreviewView> {
    const path = `${API}/releases/${seg(release)}/preview`;
    return this.#parsed(previewSchema, { method: "POST", path, json: body });
  }

  /** Keeps releases from beginning, until `unlock` or its end. */
  lock(app: string, environment: string, body: CreateLock): Promise<EnvironmentView> {
    return this.#guard(app, environment, { method: "PUT", noun: "lock", body });
  }

  unlock(app: string, environment: string): Promise<EnvironmentView> {
    return this.#guard(app, environment, { method: "DELETE", noun: "lock" });
  }

  /** Lets no visitor in: 503, or held for a moment. */
  beginMaintenance(app: string, environment: string, body: CreateMaintenance = {}): Promise<EnvironmentView> {
    return this.#guard(app, environment, { method: "PUT", noun: "maintenance", body });
  }

  endMaintenance(app: string, environment: string): Promise<EnvironmentView> {
    return this.#guard(app, environment, { method: "DELETE", noun: "maintenance" });
  }

  accessories(app: string, environment: string): Promise<Page<AccessoryView>> {
    return this.#page(accessorySchema, `${environmentPath(app, environment)}/accessories`, {});
  }

  /** Has it started, stopped or upgraded; answers at once, and its `job` tells how it goes. */
  commandAccessory(
    at: { app: string; environment: string; name: string },
    action: "start" | "stop" | "upgrade",
  ): Promise<AccessoryView> {
    const path = `${accessoryPath(at)}/${action}`;
    return this.#parsed(accessorySchema, { method: "POST", path, json: {} });
  }

  /** Removes the container. Its volumes stay: the answer names them. */
  removeAccessory(at: { app: string; environment: string; name: string }): Promise<AccessoryView> {
    return this.#parsed(accessorySchema, { method: "DELETE", path: accessoryPath(at) });
  }

  /** What one move would do now, or why it would be refused. */
  planMove(app: string, environment: string, move: (typeof MOVES)[number]): Promise<MovePlanView> {
    const path = `${environmentPath(app, environment)}/plan/${move}`;
    return this.#parsed(movePlanSchema, { method: "GET", path });
  }

  /** `from`: the release seen serving; another one now is refused (412). */
  rollback(
    app: string,
    environment: string,
    body: { to?: string; from?: string } = {},
  ): Promise<RollbackAnswer> {
    const path = `${environmentPath(app, environment)}/rollback`;
    return this.#parsed(rollbackAnswerSchema, { method: "POST", path, json: body });
  }

  /** Sets the whole split. With an ETag it is refused (412) if the environment has changed since. */
  setWeights(
    at: { app: string; environment: string; ifMatch?: string | undefined },
    weights: Weights,
  ): Promise<EnvironmentView> {
    const path = `${environmentPath(at.app, at.environment)}/weights`;
    return this.#parsed(environmentSchema, { method: "PUT", path, json: weights, ifMatch: at.ifMatch });
  }

  /** Names and versions; nobody gets a value back. */
  async secrets(app: string, environment: string): Promise<readonly SecretView[]> {
    const path = `${environmentPath(app, environment)}/secrets`;
    return (await this.#get(z.object({ items: z.array(secretSchema) }), path)).items;
  }

  /** The same value again changes nothing. */
  setSecret(at: { app: string; environment: string; name: string }, value: string): Promise<SetSecretAnswer> {
    const path = `${environmentPath(at.app, at.environment)}/secrets/${seg(at.name)}`;
    return this.#parsed(setSecretAnswerSchema, { method: "PUT", path, json: { value } });
  }

  async removeSecret(at: { app: string; environment: string; name: string }): Promise<void> {
    const path = `${environmentPath(at.app, at.environment)}/secrets/${seg(at.name)}`;
    await send(this.#options, { method: "DELETE", path });
  }

  /** Seals some of what lies under the key before with the present one: call again until nothing is `left`. */
  resealSecrets(): Promise<ResealAnswer> {
    return this.#parsed(resealAnswerSchema, { method: "POST", path: `${API}/secrets/reseal` });
  }

  /** An app's logins, without their passwords. */
  async registries(app: string): Promise<readonly RegistryView[]> {
    const path = `${API}/apps/${seg(app)}/registries`;
    return (await this.#get(z.object({ items: z.array(registrySchema) }), path)).items;
  }

  setRegistry(
    at: { app: string; registry: string },
    login: { username: string; password: string },
  ): Promise<RegistryView> {
    const path = `${API}/apps/${seg(at.app)}/registries/${seg(at.registry)}`;
    return this.#parsed(registrySchema, { method: "PUT", path, json: login });
  }

  async removeRegistry(at: { app: string; registry: string }): Promise<void> {
    const path = `${API}/apps/${seg(at.app)}/registries/${seg(at.registry)}`;
    await send(this.#options, { method: "DELETE", path });
  }

  /** Which hostnames an app may have. */
  async hostnames(app: string): Promise<readonly HostnameGrantView[]> {
    const path = `${API}/apps/${seg(app)}/hostnames`;
    return (await this.#get(z.object({ items: z.array(hostnameGrantSchema) }), path)).items;
  }

  allowHostname(
    at: { app: string; pattern: string },
    options: { claim?: boolean } = {},
  ): Promise<HostnameGrantView> {
    const path = `${API}/apps/${seg(at.app)}/hostnames/${seg(at.pattern)}`;
    const json = { claim: options.claim ?? false };
    return this.#parsed(hostnameGrantSchema, { method: "PUT", path, json });
  }

  async revokeHostname(at: { app: string; pattern: string }): Promise<void> {
    const path = `${API}/apps/${seg(at.app)}/hostnames/${seg(at.pattern)}`;
    await send(this.#options, { method: "DELETE", path });
  }

  hosts(page: PageQuery = {}): Promise<Page<HostView>> {
    return this.#page(hostSchema, `${API}/hosts`, page);
  }

  host(name: string): Promise<HostView> {
    return this.#get(hostSchema, `${API}/hosts/${seg(name)}`);
  }

  /** Ends an environment, or without one the whole app. Answers what that still waits for; said again, how far it is. */
  destroy({ app, environment }: { app: string; environment?: string | undefined }): Promise<EndingView> {
    const path = `${API}/apps/${seg(app)}${environment === undefined ? "" : `/envs/${seg(environment)}`}`;
    const confirm = environment === undefined ? app : `${app}/${environment}`;
    return this.#parsed(endingSchema, { method: "DELETE", path, query: { confirm } });
  }

  /** With `force` also one that still has instances: they are no longer reached. */
  async removeHost(name: string, options: { force?: boolean } = {}): Promise<void> {
    const query = { force: options.force ? 1 : undefined };
    await send(this.#options, { method: "DELETE", path: `${API}/hosts/${seg(name)}`, query });
  }

  /** Gives the host's agent a new token; the old one ends when the new one is first used. */
  rotateHost(name: string): Promise<HostView> {
    return this.#parsed(hostSchema, { method: "POST", path: `${API}/hosts/${seg(name)}/rotate` });
  }

  /** Gives the host's tunnel a new token; its agent fetches it by itself. */
  rotateTunnel(name: string): Promise<RotatedTunnelView> {
    return this.#parsed(rotatedTunnelSchema, {
      method: "POST",
      path: `${API}/hosts/${seg(name)}/tunnel/rotate`,
    });
  }

  createEnrollment(body: CreateEnrollment): Promise<EnrollmentView> {
    return this.#parsed(enrollmentSchema, { method: "POST", path: `${API}/hosts/enrollments`, json: body });
  }

  tokens(page: PageQuery = {}): Promise<Page<TokenView>> {
    return this.#page(tokenSchema, `${API}/tokens`, page);
  }

  createToken(body: CreateToken): Promise<CreatedToken> {
    return this.#parsed(createdTokenSchema, { method: "POST", path: `${API}/tokens`, json: body });
  }

  async revokeToken(id: string): Promise<void> {
    await send(this.#options, { method: "DELETE", path: `${API}/tokens/${seg(id)}` });
  }

  /** Every check of the installation that control can make; with `live` the real paths, too. */
  doctor(options: { live?: boolean } = {}): Promise<DoctorView> {
    const query = { live: options.live ? 1 : undefined };
    return this.#parsed(doctorSchema, { method: "GET", path: `${API}/doctor`, query });
  }

  audit(page: PageQuery = {}): Promise<Page<EventView>> {
    return this.#page(eventSchema, `${API}/audit`, page);
  }

  health(): Promise<HealthAnswer> {
    return this.#get(healthAnswerSchema, "/health");
  }

  #move(id: string, verb: string, body: object): Promise<ReleaseView> {
    const path = `${API}/releases/${seg(id)}/${verb}`;
    return this.#parsed(releaseSchema, { method: "POST", path, json: body });
  }

  #guard(
    app: string,
    environment: string,
    call: { method: "PUT" | "DELETE"; noun: string; body?: object },
  ): Promise<EnvironmentView> {
    const path = `${environmentPath(app, environment)}/${call.noun}`;
    return this.#parsed(environmentSchema, {
      method: call.method,
      path,
      ...(call.body ? { json: call.body } : {}),
    });
  }

  #get<T extends z.ZodType>(schema: T, path: string): Promise<z.infer<T>> {
    return this.#parsed(schema, { method: "GET", path });
  }

  #page<T extends z.ZodType>(schema: T, path: string, page: PageQuery): Promise<Page<z.infer<T>>> {
    return this.#parsed(pageOf(schema), {
      method: "GET",
      path,
      query: { cursor: page.cursor, limit: page.limit },
    });
  }

  async #parsed<T extends z.ZodType>(schema: T, call: Call): Promise<z.infer<T>> {
    return parse(schema, call, await send(this.#options, call));
  }
}

/** Walks a list's pages until `limit` items or the end. */
export async function collect<T>(
  list: (page: PageQuery) => Promise<Page<T>>,
  limit = Number.POSITIVE_INFINITY,
): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | undefined;
  do {
    const page = await list({ cursor, limit: Math.min(100, limit - items.length) });
    items.push(...page.items);
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined && items.length < limit);
  return items.slice(0, limit);
}

/** The answer to "is it not there?" without a try around every call. */
export const isProblem = (error: unknown, ...codes: readonly string[]): error is ApiError =>
  error instanceof ApiError && codes.includes(error.problem.code);

const environmentPath = (app: string, environment: string) =>
  `${API}/apps/${seg(app)}/envs/${seg(environment)}`;

const accessoryPath = (at: { app: string; environment: string; name: string }) =>
  `${environmentPath(at.app, at.environment)}/accessories/${seg(at.name)}`;

function parse<T extends z.ZodType>(schema: T, call: Call, answer: Answer): z.infer<T> {
  const parsed = schema.safeParse(parseJson(answer.text));
  if (parsed.success) return parsed.data;
  const what = `${call.method} ${call.path} answered ${answer.status}`;
  throw new ProtocolError(
    `${what}, but not what this version expects: ${z.prettifyError(parsed.error).slice(0, 500)}`,
  );
}
