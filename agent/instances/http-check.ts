import http from "node:http";
import type { Check } from "../../src/protocol/agent/check.ts";
import type { JobError } from "../../src/protocol/agent/job-results.ts";
import { cut } from "../outcome.ts";

const BODY_EXCERPT = 500;

/** What one check found. A failure names its cause exactly: it ends up before the eyes of whoever deployed. */
export type CheckResult =
  | { ok: true; status?: number }
  | {
      ok: false;
      code:
        | "health_command"
        | "health_status"
        | "health_redirect"
        | "health_timeout"
        | "port_closed"
        | "health_unreachable";
      /** Continues what was asked, `GET http://…`: `answered 503 (wanted 2xx)`. */
      problem: string;
      facts: NonNullable<JobError["probe"]>;
    };
export type CheckFailure = Extract<CheckResult, { ok: false }>;

/** How a GET asks, and what it takes for good. */
export interface Ask {
  /** For `Host`, beside which goes what says that visitors come by https; absent: the address itself. */
  readonly host?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Ranges, both ends included; absent: 200–299. */
  readonly statuses?: Check["statuses"];
}

/**
 * Sends one GET and judges it: a good status within the time is healthy, anything else is not. A redirect is a failure, because the
 * page it leads to (a login, another host) says nothing about this instance. Each check has a connection of its own: a
 * kept one would still answer from a process that no longer accepts.
 */
export function httpCheck(url: string, timeoutMs: number, ask: Ask = {}): Promise<CheckResult> {
  const failed = (head: http.IncomingMessage, chunks: Buffer[]) => answerFailure(url, head, chunks, ask);
  return new Promise((resolve) => {
    let head: http.IncomingMessage | undefined;
    const body: Buffer[] = [];
    const request = http.get(url, {
      agent: false,
      headers: {
        "user-agent": "sluice-agent",
        accept: "*/*",
        ...(ask.host && { "x-forwarded-proto": "https", "x-forwarded-host": ask.host }),
        ...ask.headers,
        ...(ask.host && { host: ask.host }),
        connection: "close",
      },
    });
    const settle = (result: CheckResult) => {
      clearTimeout(timer);
      request.destroy();
      resolve(result);
    };
    const timer = setTimeout(
      () =>
        settle(
          head
            ? failed(head, body)
            : failure("health_timeout", `gave no answer within ${timeoutMs} ms`, { url }),
        ),
      timeoutMs,
    );
    request.on("error", (error) => settle(head ? failed(head, body) : socketFailure(url, error)));
    request.on("response", (response) => {
      head = response;
      if (isGood(response, ask)) return settle({ ok: true, status: response.statusCode ?? 0 });
      response.on("data", (chunk: Buffer) => {
        body.push(chunk);
        if (Buffer.concat(body).length >= BODY_EXCERPT) settle(failed(response, body));
      });
      response.on("error", () => settle(failed(response, body)));
      response.on("end", () => settle(failed(response, body)));
    });
  });
}

const SUCCESS: NonNullable<Ask["statuses"]> = [[200, 299]];
const isGood = ({ statusCode = 0 }: http.IncomingMessage, { statuses = SUCCESS }: Ask) =>
  statuses.some(([from, to]) => statusCode >= from && statusCode <= to);

const wanted = ({ statuses }: Ask): string =>
  statuses?.map(([from, to]) => (from === to ? String(from) : `${from}-${to}`)).join(", ") ?? "2xx";

function answerFailure(url: string, head: http.IncomingMessage, chunks: Buffer[], ask: Ask): CheckResult {
  const status = head.statusCode ?? 0;
  const body = Buffer.concat(chunks).toString("utf8").slice(0, BODY_EXCERPT).trim();
  const facts = { url, status, ...(body && { body }) };
  if (status >= 300 && status < 400 && head.headers.location) {
    return failure(
      "health_redirect",
      `answered ${status} to ${head.headers.location} (wanted ${wanted(ask)})`,
      facts,
    );
  }
  const excerpt = body ? `: ${cut(body.replace(/\s+/g, " "), 200)}` : "";
  return failure("health_status", `answered ${status} (wanted ${wanted(ask)})${excerpt}`, facts);
}

function socketFailure(url: string, error: Error): CheckResult {
  const code = "code" in error ? String(error.code) : "";
  const facts = { url, error: code || error.message };
  if (code === "ECONNREFUSED") return failure("port_closed", "was refused: nothing listens there", facts);
  if (code === "ECONNRESET")
    return failure("health_unreachable", "was cut off before an answer (connection reset)", facts);
  return failure("health_unreachable", `failed: ${error.message || code}`, facts);
}

const failure = (
  code: CheckFailure["code"],
  problem: string,
  facts: CheckFailure["facts"],
): CheckFailure => ({ ok: false, code, problem, facts });

/**
 * Health with inertia: it falls after `failures` bad answers in a row and rises after `successes` good ones, so that
 * one slow answer moves no traffic. Pure: it is told what was seen, and asked what that means.
 */
export class Hysteresis {
  readonly #limits: { failures: number; successes: number };
  #healthy: boolean;
  #against = 0;

  constructor(limits: { failures: number; successes: number }, healthy: boolean) {
    this.#limits = limits;
    this.#healthy = healthy;
  }

  get healthy(): boolean {
    return this.#healthy;
  }

  /** Answers whether this observation turned it. */
  observe(ok: boolean): boolean {
    if (ok === this.#healthy) {
      this.#against = 0;
      return false;
    }
    this.#against += 1;
    if (this.#against < (ok ? this.#limits.successes : this.#limits.failures)) return false;
    this.#healthy = ok;
    this.#against = 0;
    return true;
  }
}
