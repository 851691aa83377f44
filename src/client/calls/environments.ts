import type { z } from "zod";
import { type EnvironmentView, environmentSchema } from "../../protocol/api/environments.ts";
import { type VisitsView, visitsSchema } from "../../protocol/api/figures/visits.ts";
import type { createLockSchema, createMaintenanceSchema } from "../../protocol/api/modes.ts";
import { type RollbackAnswer, rollbackAnswerSchema, type Weights } from "../../protocol/api/moves.ts";
import { type MOVES, type MovePlanView, movePlanSchema } from "../../protocol/api/plans.ts";
import { followLogs, type LogItem, type LogsOptions } from "../logs.ts";
import type { Call } from "../transport.ts";
import { environmentPath, parsed, type Wire } from "../wire.ts";

type CreateLock = z.input<typeof createLockSchema>;
type CreateMaintenance = z.input<typeof createMaintenanceSchema>;

export class EnvironmentCalls {
  readonly #wire: Wire;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  /** An environment and its ETag, for `setWeights`. */
  async get(
    app: string,
    environment: string,
  ): Promise<{ environment: EnvironmentView; etag: string | undefined }> {
    const call: Call = { method: "GET", path: environmentPath(app, environment) };
    const answer = await this.#wire.send(call);
    return {
      environment: parsed(environmentSchema, call, answer),
      etag: answer.headers.get("etag") ?? undefined,
    };
  }

  /** The log lines of an environment's instances, of all hosts in one, across lost connections. */
  logs(app: string, environment: string, options: LogsOptions = {}): AsyncGenerator<LogItem, void, void> {
    return followLogs(this.#wire.options, `${environmentPath(app, environment)}/logs`, options);
  }

  /** Requests, errors and latency of the last minute, by release and instance. */
  visits(app: string, environment: string): Promise<VisitsView> {
    const path = `${environmentPath(app, environment)}/visits`;
    return this.#wire.parsed(visitsSchema, { method: "GET", path });
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

  /** What one move would do now, or why it would be refused. */
  planMove(app: string, environment: string, move: (typeof MOVES)[number]): Promise<MovePlanView> {
    const path = `${environmentPath(app, environment)}/plan/${move}`;
    return this.#wire.parsed(movePlanSchema, { method: "GET", path });
  }

  /** `from`: the release seen serving; another one now is refused (412). */
  rollback(
    app: string,
    environment: string,
    body: { to?: string; from?: string } = {},
  ): Promise<RollbackAnswer> {
    const path = `${environmentPath(app, environment)}/rollback`;
    return this.#wire.parsed(rollbackAnswerSchema, { method: "POST", path, json: body });
  }

  /** Sets the whole split. With an ETag it is refused (412) if the environment has changed since. */
  setWeights(
    at: { app: string; environment: string; ifMatch?: string | undefined },
    weights: Weights,
  ): Promise<EnvironmentView> {
    const path = `${environmentPath(at.app, at.environment)}/weights`;
    return this.#wire.parsed(environmentSchema, { method: "PUT", path, json: weights, ifMatch: at.ifMatch });
  }

  #guard(
    app: string,
    environment: string,
    call: { method: "PUT" | "DELETE"; noun: string; body?: object },
  ): Promise<EnvironmentView> {
    const path = `${environmentPath(app, environment)}/${call.noun}`;
    return this.#wire.parsed(environmentSchema, {
      method: call.method,
      path,
      ...(call.body ? { json: call.body } : {}),
    });
  }
}
