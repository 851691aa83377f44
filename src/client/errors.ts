import type { Problem } from "../protocol/problem.ts";

/** Control answered, and said no. `problem` is the whole RFC 9457 object. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly problem: Problem;
  readonly retryAfterMs: number | undefined;

  constructor(problem: Problem, retryAfterMs?: number) {
    super(problem.detail);
    this.problem = problem;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Nothing usable came back: refused, reset, timed out, or a gateway answered in control's place. The outcome is unknown. */
export class ConnectionError extends Error {
  override readonly name = "ConnectionError";
  readonly url: string;
  readonly timedOut: boolean;
  readonly retryAfterMs: number | undefined;

  constructor(
    message: string,
    options: { url: string; cause?: unknown; timedOut?: boolean; retryAfterMs?: number | undefined },
  ) {
    super(message, { cause: options.cause });
    this.url = options.url;
    this.timedOut = options.timedOut ?? false;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** Something answered that doesn't speak this API: another server behind the address, or a version too far apart. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}
