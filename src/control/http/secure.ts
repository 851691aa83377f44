import type { MiddlewareHandler } from "hono";
import { isPrivateWay } from "../../protocol/address.ts";
import type { AppEnv } from "./context.ts";
import { ProblemError } from "./problems.ts";

/**
 * Refuses plain http, except on this machine itself. Never a redirect: the token was sent in clear by then, and whoever
 * reads or changes what passes would go on unnoticed.
 */
export const httpsOnly: MiddlewareHandler<AppEnv> = async (c, next) => {
  const url = new URL(c.req.url);
  if (isPrivateWay(url)) return next();
  const detail = `control is asked over plain http, where anybody on the way can read and change it: use https://${url.host}, and make a new token if one was sent`;
  throw new ProblemError({ code: "https_required", detail });
};
