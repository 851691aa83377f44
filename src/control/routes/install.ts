import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { cliScript, installScript, readBundle, readCli } from "../hosts/bundle.ts";
import { ProblemError } from "../http/problems.ts";
import { newRouter } from "../http/route-parts.ts";

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

const cliInstaller = createRoute({
  method: "get",
  path: "/cli.sh",
  summary: "Puts the command line on the PATH, for `sh`",
  description: "Carries this control plane's address and the SHA-256 of the command line that it serves.",
  tags: ["cli"],
  security: [],
  responses: { 200: text("text/x-shellscript", "A POSIX shell script") },
});

const cli = createRoute({
  method: "get",
  path: "/cli.mjs",
  summary: "The command line that fits this control plane, one file for Node 20.12 or newer",
  tags: ["cli"],
  security: [],
  responses: { 200: text("text/javascript", "Its SHA-256 is the `ETag`") },
});

/** A script that names control has control's own name in it, or none is given. */
function shellScript(c: Context, script: string | undefined) {
  if (script === undefined)
    throw new ProblemError({
      code: "invalid_request",
      detail: "ask for it under control's own hostname",
    });
  return c.body(script, 200, { "content-type": "text/x-shellscript; charset=utf-8" });
}

const program = (c: Context, { code, sha256 }: { code: string; sha256: string }) =>
  c.body(code, 200, { "content-type": "text/javascript; charset=utf-8", etag: `"${sha256}"` });

/**
 * What a host is installed and upgraded from, on the host's own command. Without a token: it is the same code for everybody,
 * and holds no secret. Control pushes nothing: a running agent never asks for these.
 */
export const installRoutes = () =>
  newRouter()
    .openapi(script, async (c) => shellScript(c, await installScript(new URL(c.req.url).origin)))
    .openapi(bundle, async (c) => program(c, await readBundle()))
    .openapi(cliInstaller, async (c) => shellScript(c, await cliScript(new URL(c.req.url).origin)))
    .openapi(cli, async (c) => program(c, await readCli()));
