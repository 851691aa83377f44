import { createRoute, z } from "@hono/zod-openapi";
import { hostSchema } from "../../protocol/api/hosts.ts";
import { nameSchema } from "../../protocol/api/scalars.ts";
import { beginDrain, endDrain, strandedBy } from "../hosts/drain.ts";
import { authorize } from "../http/auth.ts";
import { type AppContext, coordinatorOf, inBackground } from "../http/context.ts";
import { ProblemError } from "../http/problems.ts";
import { json, newRouter } from "../http/route-parts.ts";
import { everything } from "../identity/roles.ts";
import { readHost } from "../store/hosts.ts";
import { hostView } from "../views/rows.ts";
import { requireHost } from "./hosts.ts";

const params = z.object({ host: nameSchema });
const path = "/api/v1/hosts/{host}/drain";

const begin = createRoute({
  method: "put",
  path,
  summary: "Empty a host",
  description:
    "Moves what serves there to other hosts without a dropped request: started elsewhere, asked on its real path, given traffic, and only then drained and stopped here. Nothing new is put on it. Answers at once; said again it answers how far it is. Refused where something could go on nowhere else, unless `force=1`: then that stays until it can.",
  tags: ["hosts"],
  request: { params, query: z.object({ force: z.enum(["0", "1"]).optional() }) },
  responses: { 202: json(hostSchema, "The host; what is left there is in `instances`") },
});

const end = createRoute({
  method: "delete",
  path,
  summary: "Empty a host no more",
  description: "It may carry again. What has moved stays where it went.",
  tags: ["hosts"],
  request: { params },
  responses: { 200: json(hostSchema, "The host") },
});

/** Emptying hosts, and back. */
export const drainRoutes = () =>
  newRouter()
    .openapi(begin, async (c) => {
      const { actor } = authorize(c, everything("admin"));
      const status = await requireHost(c, c.req.valid("param").host);
      const now = c.var.now();
      const stranded = await strandedBy(c.var.db, status.host, now);
      if (status.host.draining === null && stranded.length > 0 && c.req.valid("query").force !== "1")
        throw wouldLose(status.host.name, stranded);
      return c.json(await told(c, status.host.name, await beginDrain(c.var.db, status, { actor, now })), 202);
    })
    .openapi(end, async (c) => {
      const { actor } = authorize(c, everything("admin"));
      const status = await requireHost(c, c.req.valid("param").host);
      const touched = await endDrain(c.var.db, status, { actor, now: c.var.now() });
      return c.json(await told(c, status.host.name, touched), 200);
    });

/** Should a poke be lost, the sweep comes back to each that has something on a host that is drained. */
async function told(c: AppContext, name: string, environments: readonly string[]) {
  for (const id of environments) inBackground(c, "host.poke_failed", coordinatorOf(c.env, id).poke());
  const status = await readHost(c.var.db, name);
  if (!status) throw new ProblemError({ code: "not_found", detail: `there is no host \`${name}\`` });
  return hostView(status, c.var.now());
}

function wouldLose(name: string, stranded: readonly string[]): ProblemError {
  const detail = `${name} can't be drained: this would have nowhere to go: ${stranded.join("; ")}`;
  const next = [
    { command: "sluice hosts enroll <name>", when: "to make room on another host" },
    {
      command: `sluice hosts drain ${name} --force`,
      when: "to move what can be moved; the rest stays until it can",
    },
  ];
  return new ProblemError({ code: "host_busy", detail, next });
}
