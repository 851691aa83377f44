import type { MiddlewareHandler } from "hono";
import { readBody } from "../../streams/bounded-body.ts";
import type { AppEnv } from "./context.ts";
import { ProblemError } from "./problems.ts";

/** Nothing here needs more: the largest are an agent's log lines and its list of instances. */
const MOST_BYTES = 1024 * 1024;

/** Parts of images go to the bucket as they come: their route reads none of it. */
const STREAMED = /^\/api\/v1\/apps\/[^/]+\/envs\/[^/]+\/images\/parts\//;

/** Reads the body before anybody looks at it, so that one that is too long, or never comes, is refused in one place. */
export const wholeBody =
  (withinMs: number): MiddlewareHandler<AppEnv> =>
  async (c, next) => {
    const { raw } = c.req;
    if (raw.body === null || (c.req.method === "PUT" && STREAMED.test(c.req.path))) return next();
    if (Number(raw.headers.get("content-length")) > MOST_BYTES) throw tooLong();
    const { bytes, end } = await readBody(raw.body, { bytes: MOST_BYTES, ms: withinMs }).catch(brokenOff);
    if (end === "too-long") throw tooLong();
    if (end === "too-slow") throw tooSlow(withinMs);
    c.req.raw = new Request(raw, { body: bytes });
    return next();
  };

const tooLong = () =>
  new ProblemError({
    code: "body_too_large",
    detail: `the body is larger than ${MOST_BYTES} bytes, which nothing here needs: send less`,
  });

const tooSlow = (withinMs: number) =>
  new ProblemError({
    code: "invalid_request",
    detail: `the body had not arrived after ${withinMs / 1_000} s: send it in one go`,
  });

function brokenOff(): never {
  throw new ProblemError({ code: "invalid_request", detail: "the body broke off: send it again" });
}
