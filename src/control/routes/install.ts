import { createRoute, z } from "@hono/zod-openapi";
import { installScript, readBundle } from "../hosts/bundle.ts";
import { ProblemError } from "../http/problems.ts";
import { newRouter } from "../http/router.ts";

const text = (type: string, description: string) => ({
  description,
  content: { [type]: { schema: z.string() } },
});

const script = createRoute({
  method: "get",
  path: "/install.sh",
  summary: "The agent's installer, for `sh`",
  description: "Carries this control plane's address and the SHA-256 of the agent that it serves.",
  tags: ["agent"],
  security: [],
  responses: { 200: text("text/x-shellscript", "A POSIX shell script") },
});

const bundle = createRoute({
  method: "get",
  path: "/agent/agent.mjs",
  summary: "The agent, one file for Node",
  tags: ["agent"],
  security: [],
  responses: { 200: text("text/javascript", "Its SHA-256 is the `ETag`") },
});

/**
 * What a host is installed and upgraded from, on the host's own command. Without a token: it is the same code for everybody,
 * and holds no secret. Control pushes nothing: a running agent never asks for these.
 */
export const installRoutes = () =>
  newRouter()
    .openapi(script, async (c) => {
      const found = await installScript(new URL(c.req.url).origin);
      if (found === undefined)
        throw new ProblemError({
          code: "invalid_request",
          detail: "ask for it under control's own hostname",
        });
      return c.body(found, 200, { "content-type": "text/x-shellscript; charset=utf-8" });
    })
    .openapi(bundle, async (c) => {
      const { code, sha256 } = await readBundle();
      return c.body(code, 200, { "content-type": "text/javascript; charset=utf-8", etag: `"${sha256}"` });
    });
