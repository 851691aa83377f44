import type { Context } from "hono";
import type { Result } from "../../domain/result.ts";
import type { PullRequest } from "../../domain/trust/pull-request.ts";
import type { ControlEnv } from "../env.ts";
import type { CoordinatorPort } from "../environment/coordinator-port.ts";
import { logFailure } from "../log.ts";
import { objectIn } from "../objects.ts";
import type { Refusal } from "../refusal.ts";
import type { Db } from "../store/db.ts";
import type { TokenRow } from "../store/tokens.ts";
import { ProblemError } from "./problems.ts";

/** A role, and where it holds: null is everything, or the whole app. */
export interface Reach {
  readonly role: TokenRow["role"];
  readonly app: string | null;
  readonly environment: string | null;
}

/** Who asks. Looked up anew for every request, never cached: a revocation holds from the next request on. */
export interface Principal {
  readonly id: string;
  /** Whose keys its Idempotency-Keys are. A CI job has a new token each time, and is still the same that asks again. */
  readonly keyScope: string;
  /** As events name it: `token:ci`, `agent:web-1`, `admin`. */
  readonly actor: string;
  /** All by which it can be told who that is: what two have in common makes them one person. */
  readonly identities: readonly string[];
  /** Those of whoever made the token. */
  readonly madeBy: readonly string[];
  readonly role: TokenRow["role"];
  readonly app: string | null;
  readonly environment: string | null;
  /** What else they may do, and where: a person may have several roles. */
  readonly also?: readonly Reach[];
  /** All that a CI job's token is for, beside reading; null: whatever its role may. A preview's may read that alone. */
  readonly action: "deploy" | "preview" | null;
  /** The pull request whose preview it is for; null: any. */
  readonly pull?: PullRequest | null;
  /** The host of an agent's token. */
  readonly hostId: string | null;
}

/** What every handler finds in its context. */
export interface AppEnv {
  Bindings: ControlEnv;
  Variables: {
    requestId: string;
    /** Epoch ms. */
    now: () => number;
    db: Db;
    principal: Principal;
  };
}
export type AppContext = Context<AppEnv>;

/** The coordinator of an environment, by its id. */
export const coordinatorOf = (env: ControlEnv, environmentId: string): CoordinatorPort =>
  objectIn(env.COORDINATOR, environmentId, env);

/** The value, or the refusal on its way to the error handler. */
export function orRefuse<T>(result: Result<T, Refusal>): T {
  if (result.ok) return result.value;
  throw new ProblemError(result.error);
}

/** Runs on after the answer. What fails is logged: the caller has its answer, and the sweep comes by each minute. */
export function inBackground(c: AppContext, what: string, work: Promise<unknown>): void {
  c.executionCtx.waitUntil(work.catch((error) => logFailure(what, error, { request: c.var.requestId })));
}

/** Has these environments look at what was just written of them. */
export function pokeAll(c: AppContext, environments: readonly string[]): void {
  for (const id of environments) inBackground(c, "poke.failed", coordinatorOf(c.env, id).poke());
}
