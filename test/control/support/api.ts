import { env } from "cloudflare:workers";
import { type AppOptions, createApp } from "../../../src/control/app.ts";
import type { ControlEnv } from "../../../src/control/env.ts";
import { newSecret, sha256 } from "../../../src/control/ids.ts";
import { FakeCoordinators } from "./coordinators.ts";
import { asInvocation } from "./invocation.ts";
import { checkRequest, withinLimits } from "./within-limits.ts";

export const ADMIN_TOKEN = newSecret("slu");
const ADMIN_TOKEN_SHA256 = await sha256(ADMIN_TOKEN);

export interface Call {
  readonly token?: string | null;
  readonly json?: unknown;
  readonly text?: string;
  readonly headers?: Record<string, string>;
}

/** Control's app on the real D1, with coordinators that only note what they were asked and answer as told. */
export class Api {
  readonly coordinators = new FakeCoordinators();
  readonly env: ControlEnv;
  /** Epoch ms; tests move it. */
  time = 1_790_000_000_000;
  readonly #app: ReturnType<typeof createApp>;

  constructor(options: AppOptions = {}, bindings: Partial<ControlEnv> = {}) {
    const COORDINATOR = this.coordinators.namespace();
    // Cloudflare's own counters know no other time than the wall's.
    const { STRANGERS: _, CALLERS: __, ...rest } = env;
    this.env = withinLimits({ ...rest, COORDINATOR, ADMIN_TOKEN_SHA256, ...bindings });
    this.#app = createApp({ now: () => this.time, ...options });
  }

  /** Sends a request as the admin unless told otherwise, and waits for what it left running. */
  call(method: string, path: string, call: Call = {}): Promise<Response> {
    return this.send(this.request(method, path, call));
  }

  async send(request: Request): Promise<Response> {
    const running: Promise<unknown>[] = [];
    // The runtime's own costs a stack trace per request.
    const ctx = {
      waitUntil: (work: Promise<unknown>) => void running.push(work),
      passThroughOnException() {},
    };
    checkRequest(request);
    const response = await asInvocation(() => this.#app.fetch(request, this.env, ctx as ExecutionContext));
    while (running.length > 0) await Promise.all(running.splice(0));
    return response;
  }

  request(method: string, path: string, call: Call = {}): Request {
    const token = call.token === undefined ? ADMIN_TOKEN : call.token;
    const body = call.text ?? (call.json === undefined ? undefined : JSON.stringify(call.json));
    const headers = {
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...(call.json === undefined ? {} : { "content-type": "application/json" }),
      ...call.headers,
    };
    return new Request(`https://control.test${path}`, {
      method,
      headers,
      ...(body === undefined ? {} : { body }),
    });
  }

  get = (path: string, call?: Call) => this.call("GET", path, call);
  post = (path: string, json: unknown, call?: Call) => this.call("POST", path, { json, ...call });
  put = (path: string, json: unknown, call?: Call) => this.call("PUT", path, { json, ...call });
  delete = (path: string, call?: Call) => this.call("DELETE", path, call);
  apply = (app: string, manifest: string, call?: Call) =>
    this.call("PUT", `/api/v1/apps/${app}`, { text: manifest, ...call });

  /** A token made through the API. */
  async token(role: string, scope: { app?: string; environment?: string } = {}): Promise<string> {
    const response = await this.post("/api/v1/tokens", { name: `${role}-token`, role, ...scope });
    const { token } = await response.json<{ token: string }>();
    return token;
  }
}

/** A code that the test can compare in one go: `422 weights_invalid`. */
export async function problemOf(response: Response): Promise<string> {
  const { code } = await response.clone().json<{ code?: string }>();
  return `${response.status} ${code ?? "(no problem)"}`;
}
