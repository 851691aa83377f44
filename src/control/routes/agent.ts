import { createRoute, z } from "@hono/zod-openapi";
import type { MiddlewareHandler } from "hono";
import { claimAnswerSchema } from "../../protocol/agent/claim.ts";
import { enrollAnswerSchema, enrollSchema, rotateAnswerSchema } from "../../protocol/agent/enroll.ts";
import { healthSchema } from "../../protocol/agent/health.ts";
import { pollAnswerSchema, pollSchema } from "../../protocol/agent/poll.ts";
import { tunnelAnswerSchema } from "../../protocol/agent/tunnel.ts";
import { AGENT_PROTOCOL } from "../../protocol/agent/wire.ts";
import { answerTunnel } from "../cloudflare/agent-tunnel.ts";
import { claimInstance } from "../hosts/claim.ts";
import { enrollHost } from "../hosts/enroll.ts";
import { answerPoll, inventoryOf } from "../hosts/poll.ts";
import { issueSuccessor } from "../hosts/rotate.ts";
import { asHost, authenticate, authorizeAgent, identify, tokenHash } from "../http/auth.ts";
import { type AppContext, type AppEnv, inBackground, orRefuse, pokeAll } from "../http/context.ts";
import { ProblemError } from "../http/problems.ts";
import { body, json, newRouter } from "../http/route-parts.ts";
import { objectIn } from "../objects.ts";
import { openDb } from "../store/db.ts";
import { heartbeat, noteSecondMachine } from "../store/hosts.ts";
import { writeReports } from "../store/reports.ts";

/** Another version's body would only be called invalid; this says what is really wrong. */
const sameProtocol: MiddlewareHandler<AppEnv> = async (c, next) => {
  const sent: unknown = await c.req.json().catch(() => undefined); // Not JSON: the validator says so better.
  const protocol =
    typeof sent === "object" && sent !== null && "protocol" in sent ? sent.protocol : undefined;
  if (protocol === undefined || protocol === AGENT_PROTOCOL) return next();
  // Anybody may send anything here: only a number is said again.
  const spoken = typeof protocol === "number" ? protocol : "unknown";
  const detail = `the agent speaks protocol ${spoken}, control speaks ${AGENT_PROTOCOL}: upgrade the ${typeof protocol === "number" && protocol > AGENT_PROTOCOL ? "control plane" : "agent"}`;
  throw new ProblemError({ code: "protocol_unsupported", detail });
};

const tags = ["agent"];
const instanceParams = z.object({ id: z.string().min(1).max(128) });

const enroll = createRoute({
  method: "post",
  path: "/agent/v1/enroll",
  summary: "Trade a one-time token for a host's credentials",
  tags,
  security: [],
  middleware: [sameProtocol] as const,
  request: { body: body(enrollSchema) },
  responses: { 200: json(enrollAnswerSchema, "The host, its token (shown this once) and its slots") },
});

const poll = createRoute({
  method: "post",
  path: "/agent/v1/poll",
  summary: "Say what runs, get jobs",
  tags,
  middleware: [sameProtocol] as const,
  request: { body: body(pollSchema) },
  responses: { 200: json(pollAnswerSchema, "Jobs, leased to this agent, and when to ask again") },
});

const health = createRoute({
  method: "post",
  path: "/agent/v1/health",
  summary: "Report instances whose state changed",
  tags,
  request: { body: body(healthSchema) },
  responses: { 200: json(z.object({}), "Written") },
});

const claim = createRoute({
  method: "post",
  path: "/agent/v1/instances/{id}/claim",
  summary: "What makes an instance's container again that was removed from its host",
  description:
    "Carries secrets: opened for the host that the instance is on, while it is meant to run there, and kept nowhere.",
  tags,
  middleware: [authenticate] as const,
  request: { params: instanceParams },
  responses: { 200: json(claimAnswerSchema, "Its variables, and the login of its registry") },
});

const rotate = createRoute({
  method: "post",
  path: "/agent/v1/rotate",
  summary: "Trade the host's token for a new one",
  description:
    "The new token counts at once. The one it was asked with counts until the new one is first used, so that an answer that gets lost locks nobody out.",
  tags,
  middleware: [authenticate] as const,
  responses: { 200: json(rotateAnswerSchema, "The new token, shown this once") },
});

const tunnel = createRoute({
  method: "post",
  path: "/agent/v1/tunnel",
  summary: "How cloudflared is to run on this host",
  description: "Carries the tunnel's token: asked of Cloudflare when it is needed, and kept nowhere.",
  tags,
  middleware: [authenticate] as const,
  responses: { 200: json(tunnelAnswerSchema, "The token, or why there is none (yet)") },
});

const wake = createRoute({
  method: "get",
  path: "/agent/v1/wake",
  summary: "The wake-up socket (WebSocket)",
  tags,
  middleware: [authenticate] as const,
  responses: { 101: { description: "Carries `poll` when there is work" } },
});

/** What agents call. */
export const agentRoutes = () =>
  newRouter()
    .openapi(enroll, async (c) => {
      const enrolled = await enrollHost(c.env, c.req.valid("json"), c.var.now());
      if (!enrolled.ok) throw new ProblemError(enrolled.error);
      const { tunnel: isWanted, ...answer } = enrolled.value;
      const { id } = answer.host;
      if (isWanted) inBackground(c, "tunnel.not_begun", objectIn(c.env.HOST_LINK, id, c.env).tend(id));
      return c.json(answer, 200);
    })
    .openapi(poll, async (c) => {
      const sent = c.req.valid("json");
      const now = c.var.now();
      const db = openDb(c.env.DB);
      const host = await beat(c, sent, now);
      const { answer, touched } = await answerPoll({ db, env: c.env }, host, { sent, now });
      pokeAll(c, touched);
      return c.json(answer, 200);
    })
    .openapi(health, async (c) => {
      const { boot, clock, reports } = c.req.valid("json");
      const now = c.var.now();
      const by = { boot, now, clockSkewMs: (clock ?? now) - now };
      const changed = await asHost(c, (db, hostId) => writeReports(db, { ...by, hostId }, reports));
      pokeAll(c, changed ?? []);
      return c.json({}, 200);
    })
    .openapi(claim, async (c) => {
      const { hostId } = authorizeAgent(c);
      const of = { hostId, instance: c.req.valid("param").id, now: c.var.now() };
      return c.json(orRefuse(await claimInstance({ db: c.var.db, env: c.env }, of)), 200);
    })
    .openapi(rotate, async (c) => {
      authorizeAgent(c);
      return c.json({ token: await issueSuccessor(c.var.db, c.var.principal, c.var.now()) }, 200);
    })
    .openapi(tunnel, async (c) => {
      const { hostId } = authorizeAgent(c);
      return c.json(await answerTunnel(c.env, hostId, c.var.now()), 200);
    })
    .openapi(wake, async (c) => {
      const { hostId } = authorizeAgent(c);
      if (c.req.header("upgrade")?.toLowerCase() !== "websocket") {
        const detail = "this is a WebSocket: connect with `Upgrade: websocket`";
        throw new ProblemError({ code: "invalid_request", detail });
      }
      return objectIn(c.env.HOST_LINK, hostId, c.env).fetch(c.req.raw);
    });

/** An idle poll's one query; only a refusal needs a second one, to say why. */
async function beat(c: AppContext, sent: z.output<typeof pollSchema>, now: number) {
  const db = openDb(c.env.DB);
  const authorization = c.req.header("authorization");
  const hash = await tokenHash(authorization);
  const { boot, agentVersion } = sent;
  const { facts, jobs } = sent;
  const inventory = inventoryOf(sent);
  const seen = { boot, agentVersion, clockSkewMs: sent.clock - now, now, facts, jobs, inventory };
  const host = hash && (await heartbeat(db, { tokenHash: hash, ...seen }));
  if (host) return { ...host, tokenHash: hash };
  const found = await identify({ env: c.env, db, now, sent: authorization }, hash);
  if (!found.ok) throw new ProblemError(found.error);
  c.set("principal", found.value.principal);
  const { hostId } = authorizeAgent(c);
  const shared = await noteSecondMachine(db, hostId, boot, now);
  if (shared !== undefined) throw secondMachine(shared);
  throw new ProblemError({ code: "token_revoked", detail: "this host was removed" });
}

const secondMachine = (host: string) =>
  new ProblemError({
    code: "conflict",
    detail: `the token of ${host} is in use by another machine, which was there first: this one gets no work and nothing it says is written`,
    next: [
      {
        command: "sluice hosts enroll <another-name>",
        when: "this machine is a copy of that one: empty its state directory first",
      },
      { command: `sluice hosts remove ${host} --force`, when: "nobody made a copy: the token was taken" },
    ],
  });
