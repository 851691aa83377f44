import { createLocalJWKSet, type JSONWebKeySet, type JWTHeaderParameters, type JWTVerifyGetKey } from "jose";
import { z } from "zod";
import { err, ok, type Result } from "../../domain/result.ts";
import { interceptionOf } from "../../protocol/interception.ts";
import { parseJson } from "../../protocol/json.ts";
import { readBody, textOf } from "../../streams/bounded-body.ts";
import { BoundedMap } from "../bounded-map.ts";
import { issuerProblem } from "./issuer.ts";

/** A key that is not among the known ones is asked for at most this often: made-up ids buy no requests. */
const ASK_AGAIN_MS = 60_000;
/** Keys are read anew after this long, so that a withdrawn one is not believed for ever. */
const FRESH_MS = 3_600_000;
/** For as long as an issuer does not answer, what it said last counts. */
const STALE_MS = 24 * 3_600_000;
/** For the discovery document and the keys together. */
const WITHIN_MS = 5_000;
const MOST_BYTES = 256 * 1024;
const MOST_ISSUERS = 100;

const discoverySchema = z.object({ issuer: z.string(), jwks_uri: z.string() });
const keySetSchema = z.object({ keys: z.array(z.looseObject({ kty: z.string() })).max(100) });

interface Known {
  readonly keys: JSONWebKeySet;
  readonly readAt: number;
}

interface At {
  readonly now: number;
  readonly isLocal: boolean;
  /** Where the keys are, if that is known; else the issuer's discovery document says it. */
  readonly keysAt?: string;
}

/** How documents are asked for. */
export interface AskOptions {
  readonly ask?: (url: string, init: RequestInit) => Promise<Response>;
  readonly withinMs?: number;
}

/** The public keys of issuers, in this isolate. */
export class Keys {
  readonly #known = new BoundedMap<string, Known>(MOST_ISSUERS);
  readonly #askedAt = new BoundedMap<string, number>(MOST_ISSUERS);
  readonly #ask: NonNullable<AskOptions["ask"]>;

  readonly #withinMs: number;

  constructor({ ask = (url, init) => fetch(url, init), withinMs = WITHIN_MS }: AskOptions = {}) {
    this.#ask = ask;
    this.#withinMs = withinMs;
  }

  /** The issuer's keys, with the one of that id among them if the issuer has it. */
  async of(issuer: string, kid: string | undefined, at: At) {
    const known = this.#known.get(issuer);
    const hasKey =
      known !== undefined && (kid === undefined || known.keys.keys.some((key) => key.kid === kid));
    const age = known === undefined ? Number.POSITIVE_INFINITY : at.now - known.readAt;
    if (hasKey && age < FRESH_MS) return ok(asGetKey(known.keys));
    const sinceAsked = at.now - (this.#askedAt.get(issuer) ?? Number.NEGATIVE_INFINITY);
    if (sinceAsked < ASK_AGAIN_MS && known && !hasKey) return ok(asGetKey(known.keys));
    const read =
      sinceAsked < ASK_AGAIN_MS && hasKey ? err("it was asked just now") : await this.#read(issuer, at);
    if (read.ok) return ok(asGetKey(read.value));
    return hasKey && age < STALE_MS ? ok(asGetKey(known.keys)) : read;
  }

  async #read(issuer: string, at: At) {
    this.#askedAt.set(issuer, at.now);
    const signal = AbortSignal.timeout(this.#withinMs);
    const place = at.keysAt === undefined ? await this.#discover(issuer, at, signal) : ok(at.keysAt);
    if (!place.ok) return place;
    const keys = await this.#document(place.value, keySetSchema, signal);
    if (!keys.ok) return keys;
    this.#known.set(issuer, { keys: keys.value, readAt: at.now });
    return ok(keys.value);
  }

  async #discover(issuer: string, { isLocal }: At, signal: AbortSignal): Promise<Result<string, string>> {
    const where = `${issuer}/.well-known/openid-configuration`;
    const discovery = await this.#document(where, discoverySchema, signal);
    if (!discovery.ok) return discovery;
    const { jwks_uri: keysAt } = discovery.value;
    const problem = issuerProblem(keysAt, isLocal);
    // Its own word for where its keys are must not send control elsewhere.
    if (problem || new URL(keysAt).origin !== new URL(issuer).origin)
      return err(`${where} names keys at another address, ${keysAt.slice(0, 200)}`);
    if (discovery.value.issuer !== issuer)
      return err(`${where} speaks for another issuer, ${discovery.value.issuer.slice(0, 200)}`);
    return ok(keysAt);
  }

  async #document<T extends z.ZodType>(
    url: string,
    schema: T,
    signal: AbortSignal,
  ): Promise<Result<z.infer<T>, string>> {
    try {
      const response = await this.#ask(url, {
        headers: { accept: "application/json", "user-agent": "sluice" },
        redirect: "manual",
        signal,
      });
      const body = await readBody(response.body, { bytes: MOST_BYTES, ms: this.#withinMs });
      if (response.status !== 200) return err(`${url} ${answeredBy(response, textOf(body))}`);
      if (body.end !== "whole") return err(`${url} answered without end`);
      const parsed = schema.safeParse(parseJson(textOf(body)));
      return parsed.success ? ok(parsed.data) : err(`${url} answered something else than OpenID Connect has`);
    } catch (error) {
      if (signal.aborted) return err(`${url} did not answer within ${this.#withinMs / 1_000} s`);
      return err(`${url} can't be reached: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

function answeredBy({ status, headers }: Response, body: string): string {
  const stopped = interceptionOf({ status, headers, body });
  return `answered ${status}${stopped ? `: ${stopped.words}. ${stopped.fix}` : ""}`;
}

function asGetKey(keys: JSONWebKeySet): JWTVerifyGetKey {
  const find = createLocalJWKSet(keys);
  return (header: JWTHeaderParameters, token) => find(header, token);
}
