import type { MiddlewareHandler } from "hono";
import type { AppEnv } from "./context.ts";
import { ProblemError } from "./problems.ts";

const LOOPBACK = /^(?:localhost|(?:.+\.)?localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

/**
 * Refuses plain http, except on this machine itself. Never a redirect: the token was sent in clear by then, and whoever
 * reads or changes what passes would go on unnoticed.
 */
export const httpsOnly: MiddlewareHandler<AppEnv> = async (c, next) => {
  const { protocol, hostname, host } = new URL(c.req.url);
  if (protocol === "https:" || LOOPBACK.test(hostname)) return next();
  const detail = `control is asked over plain http, where anybody on the way can read and change it: use https://${host}, and make a new token if one was sent`;
  throw new ProblemError({ code: "https_required", detail });
};
