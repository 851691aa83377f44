import { createRoute, z } from "@hono/zod-openapi";
import {
  createEnrollmentSchema,
  type EnrollmentView,
  enrollmentSchema,
} from "../../protocol/api/enrollments.ts";
import { type HostView, hostSchema, rotatedTunnelSchema } from "../../protocol/api/hosts.ts";
import { nameSchema, pageOf } from "../../protocol/api/scalars.ts";
import { readBundle } from "../hosts/bundle.ts";
import { taken } from "../hosts/enroll.ts";
import { installLine } from "../hosts/install-line.ts";
import { authorize } from "../http/auth.ts";
import { type AppContext, coordinatorOf, inBackground, orRefuse } from "../http/context.ts";
import { ProblemError } from "../http/problems.ts";
import { body, decodeCursor, json, newRouter, pageQuery, toPage } from "../http/route-parts.ts";
import { everything } from "../identity/roles.ts";
import { newSecret, sha256 } from "../ids.ts";
import { iso } from "../iso.ts";
import { objectIn } from "../objects.ts";
import { runBatch } from "../store/db.ts";
import { insertEnrollment } from "../store/enrollments.ts";
import { insertEvent } from "../store/events.ts";
import {
  askRotation,
  endOnHost,
  type HostStatus,
  isHostKnown,
  listHosts,
  readHost,
  removeHost,
} from "../store/hosts.ts";
import { revokeHostTokens } from "../store/tokens.ts";
import { releaseTunnel } from "../store/tunnels.ts";
import { findEnvironmentsOn } from "../store/upkeep/due.ts";
import { hostView } from "../views/rows.ts";

const hostParams = z.object({ host: nameSchema });

const list = createRoute({
  method: "get",
  path: "/api/v1/hosts",
  summary: "All hosts",
  tags: ["hosts"],
  request: { query: pageQuery(100, 50) },
  responses: { 200: json(pageOf(hostSchema), "A page, by name") },
});

const show = createRoute({
  method: "get",
  path: "/api/v1/hosts/{host}",
  summary: "One host, its slots and what it runs",
  tags: ["hosts"],
  request: { params: hostParams },
  responses: { 200: json(hostSchema, "The host") },
});

const remove = createRoute({
  method: "delete",
  path: "/api/v1/hosts/{host}",
  summary: "Forget a host",
  description:
    "Its token stops working at once; what was made for it at Cloudflare is removed in the background. Refused while anything runs on it, unless `force=1`.",
  tags: ["hosts"],
  request: { params: hostParams, query: z.object({ force: z.enum(["0", "1"]).optional() }) },
  responses: { 200: json(hostSchema, "The host as it was") },
});

const rotate = createRoute({
  method: "post",
  path: "/api/v1/hosts/{host}/rotate",
  summary: "Give a host's agent a new token",
  description:
    "The agent gets it with its next poll, at once when it is connected. The old token ends when the new one is first used.",
  tags: ["hosts"],
  request: { params: hostParams },
  responses: { 202: json(hostSchema, "The host; `rotateAt` is null again when its agent has the new token") },
});

const rotateTunnel = createRoute({
  method: "post",
  path: "/api/v1/hosts/{host}/tunnel/rotate",
  summary: "Give a host's tunnel a new token",
  description:
    "The agent fetches it by itself. What is connected stays connected; with the old token nobody connects anew.",
  tags: ["hosts"],
  request: { params: hostParams },
  responses: {
    200: json(rotatedTunnelSchema, "The tunnel's revision, which the agent sees at its next poll"),
  },
});

const enroll = createRoute({
  method: "post",
  path: "/api/v1/hosts/enrollments",
  summary: "Make a one-time token for a new host",
  tags: ["hosts"],
  request: {
    headers: z.object({ "idempotency-key": z.string().optional() }),
    body: body(createEnrollmentSchema),
  },
  responses: {
    201: json(enrollmentSchema, "The token, shown this once, and the command to run on the host"),
  },
});

/** Hosts: the machines that carry the instances. */
export const hostRoutes = () =>
  newRouter()
    .openapi(list, async (c) => {
      authorize(c, everything("viewer"));
      const { limit, cursor } = c.req.valid("query");
      const rows = await listHosts(c.var.db, {
        after: decodeCursor(cursor, /^[a-z0-9-]+$/),
        limit: limit + 1,
      });
      const item = (row: HostStatus) => hostView(row, c.var.now());
      return c.json(toPage(rows, limit, { item, cursor: ({ host }) => host.name }), 200);
    })
    .openapi(show, async (c) => {
      authorize(c, everything("viewer"));
      return c.json(hostView(await requireHost(c, c.req.valid("param").host), c.var.now()), 200);
    })
    .openapi(remove, async (c) => {
      const { actor } = authorize(c, everything("admin"));
      const status = await requireHost(c, c.req.valid("param").host);
      if (c.req.valid("query").force !== "1") refuseBusy(status);
      return c.json(await forget(c, status, actor), 200);
    })
    .openapi(rotate, async (c) => {
      const { actor } = authorize(c, everything("admin"));
      const status = await requireHost(c, c.req.valid("param").host);
      return c.json(await orderToken(c, status, actor), 202);
    })
    .openapi(rotateTunnel, async (c) => {
      const { actor } = authorize(c, everything("admin"));
      const { host } = await requireHost(c, c.req.valid("param").host);
      const rotated = await objectIn(c.env.HOST_LINK, host.id, c.env).rotateTunnel(host.id, actor);
      return c.json({ host: host.name, ...orRefuse(rotated) }, 200);
    })
    .openapi(enroll, async (c) => {
      const { actor } = authorize(c, everything("admin"));
      return c.json(await invite(c, c.req.valid("json"), actor), 201);
    });

/** Its token ends now; what was made for it at Cloudflare goes in the background. */
async function forget(c: AppContext, status: HostStatus, actor: string): Promise<HostView> {
  const { host } = status;
  const now = c.var.now();
  const environments = await findEnvironmentsOn(c.var.db, [host.id]);
  await runBatch(c.var.db, [
    removeHost(c.var.db, host, now),
    ...endOnHost(c.var.db, host, now),
    releaseTunnel(c.var.db, host.id, now),
    revokeHostTokens(c.var.db, host.id, now),
    insertEvent(c.var.db, {
      at: now,
      type: "host.removed",
      actor,
      message: `host ${host.name} removed`,
      data: { host: host.name, id: host.id, instances: status.instances.map(({ id }) => id) },
    }),
  ]);
  for (const id of environments) inBackground(c, "host.poke_failed", coordinatorOf(c.env, id).poke());
  const link = objectIn(c.env.HOST_LINK, host.id, c.env);
  inBackground(c, "host.shut", link.shut("this host was removed"));
  if (status.tunnel) inBackground(c, "tunnel.not_removed", link.tend(host.id));
  return hostView({ ...status, host: { ...host, removedAt: now } }, now);
}

/** Its agent is to trade its token for a new one with its next poll. */
async function orderToken(c: AppContext, status: HostStatus, actor: string): Promise<HostView> {
  const { host } = status;
  const now = c.var.now();
  await runBatch(c.var.db, [
    askRotation(c.var.db, host.id, now),
    insertEvent(c.var.db, {
      at: now,
      type: "host.rotated",
      actor,
      message: `a new token was asked for host ${host.name}`,
      data: { host: host.name, id: host.id },
    }),
  ]);
  inBackground(c, "host.wake", objectIn(c.env.HOST_LINK, host.id, c.env).wake());
  return hostView({ ...status, host: { ...host, rotateAt: host.rotateAt ?? now } }, now);
}

/** A one-time token, and the command that makes a host of a machine with it. */
async function invite(
  c: AppContext,
  asked: z.output<typeof createEnrollmentSchema>,
  actor: string,
): Promise<EnrollmentView> {
  const { name, labels, slots, expiresInMinutes, container, originBase } = asked;
  if (await isHostKnown(c.var.db, name)) throw new ProblemError(taken(name));
  const now = c.var.now();
  const expiresAt = now + expiresInMinutes * 60_000;
  const token = newSecret("sle");
  const row = { hash: await sha256(token), name, labels, slots, createdBy: actor, createdAt: now };
  await insertEnrollment(c.var.db, { ...row, expiresAt, usedAt: null });
  const hasTunnel = c.env.CLOUDFLARE_API_TOKEN !== undefined;
  const { origin } = new URL(c.req.url);
  const command = installLine({ origin, name, token, container, originBase, hasTunnel });
  const agent = container === undefined && { agentSha256: (await readBundle()).sha256 };
  return { name, token, expiresAt: iso(expiresAt), command, ...agent };
}

export async function requireHost(c: AppContext, name: string): Promise<HostStatus> {
  const status = await readHost(c.var.db, name);
  if (status) return status;
  const next = [{ command: "sluice hosts", when: "to see all hosts" }];
  throw new ProblemError({ code: "not_found", detail: `there is no host \`${name}\``, next });
}

function refuseBusy({ host, instances, accessories, workers, runs }: HostStatus): void {
  const what = [
    ...instances.map(({ version, slot }) => `${version} in slot ${slot}`),
    ...workers.map((one) => `${one.process} of ${one.app}/${one.environment}`),
    ...runs.map((one) => `${one.what} of ${one.app}/${one.environment}, which runs just now`),
    ...accessories.map((one) => `accessory ${one.name} of ${one.app}/${one.environment}, with its volumes`),
  ];
  if (what.length === 0) return;
  const detail = `${host.name} still has what would be lost (${what.join(", ")}): drain it first, or use force`;
  const next = [
    { command: `sluice hosts drain ${host.name}`, when: "to move what runs there to other hosts first" },
    { command: `sluice hosts remove ${host.name} --force`, when: "the machine is gone for good" },
  ];
  throw new ProblemError({ code: "host_busy", detail, next });
}
