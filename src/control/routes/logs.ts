import { createRoute, z } from "@hono/zod-openapi";
import { logChunkAnswerSchema, logChunkSchema } from "../../protocol/agent/logs.ts";
import { logsQuerySchema, parseSince } from "../../protocol/api/logs.ts";
import { authenticate, authorize, authorizeAgent } from "../http/auth.ts";
import type { AppContext } from "../http/context.ts";
import { ProblemError } from "../http/problems.ts";
import { requireEnvironment } from "../http/require.ts";
import { body, environmentParams, json, newRouter } from "../http/route-parts.ts";
import { newId } from "../ids.ts";
import { objectIn } from "../objects.ts";
import { isHostKnown } from "../store/hosts.ts";
import type { LogScope } from "../store/log-streams.ts";
import { type EnvironmentStatus, findReleases } from "../store/status.ts";
import { LOG_TIMES, type LogOrder, type LogTimes } from "../streams/log-order.ts";
import { type Place, parsePlace } from "../streams/log-place.ts";
import type { Readers } from "../streams/readers.ts";

const USUAL_TAIL = 100;

const logs = createRoute({
  method: "get",
  path: "/api/v1/apps/{app}/envs/{env}/logs",
  summary: "An environment's log lines, of all instances (SSE)",
  description:
    "Events: `lines` (its `id` is the place behind them: with it as `Last-Event-ID` nothing is repeated or missed), `host` (a host joined, is offline, silent, or in trouble), `gap` (bytes that were rotated away unread), `heartbeat` each 10 s, and `end` when all was said. A stream that ends without `end` is to be taken up again. Lines may hold what the app's users typed: this needs the role deployer.",
  tags: ["environments"],
  request: {
    params: environmentParams,
    query: logsQuerySchema,
    headers: z.object({ "last-event-id": z.string().optional() }),
  },
  responses: {
    200: { description: "The lines", content: { "text/event-stream": { schema: z.string() } } },
  },
});

const push = createRoute({
  method: "post",
  path: "/agent/v1/logs/{stream}",
  summary: "Log lines of a host, for the reader who asked",
  tags: ["agent"],
  middleware: [authenticate] as const,
  request: {
    params: z.object({ stream: z.string().regex(/^log_[0-9a-z]{4,60}$/) }),
    body: body(logChunkSchema),
  },
  responses: { 200: json(logChunkAnswerSchema, "Whether they were taken, and whether more are wanted") },
});

export const logRoutes = (readers: Readers, times: LogTimes = LOG_TIMES) =>
  newRouter()
    .openapi(logs, async (c) => {
      const { app, env } = c.req.valid("param");
      authorize(c, { role: "deployer", app, environment: env });
      const status = await requireEnvironment(c, app, env);
      const order = { ...(await orderOf(c, status, c.req.valid("query"))), times };
      const stream = await readers.open(c.var.principal.id, async () => {
        const relay = objectIn(c.env.LOG_RELAY, order.stream, c.env);
        const answer = await relay.fetch("https://relay/", { method: "POST", body: JSON.stringify(order) });
        if (!answer.body) throw new Error(`the log relay answered ${answer.status}`);
        return answer.body;
      });
      c.header("content-type", "text/event-stream; charset=utf-8");
      // No proxy on the way may hold it back or compress it.
      c.header("cache-control", "no-store, no-transform");
      c.header("x-accel-buffering", "no");
      return c.body(stream, 200);
    })
    .openapi(push, async (c) => {
      const { hostId } = authorizeAgent(c);
      const { stream } = c.req.valid("param");
      const answer = await objectIn(c.env.LOG_RELAY, stream, c.env).push(hostId, c.req.valid("json"));
      if (answer !== "foreign") return c.json(answer, 200);
      const detail = `the log stream ${stream} did not ask this host for lines`;
      throw new ProblemError({ code: "forbidden", detail });
    });

async function orderOf(
  c: AppContext,
  { app, environment }: EnvironmentStatus,
  query: z.output<typeof logsQuerySchema>,
): Promise<Omit<LogOrder, "times">> {
  const now = c.var.now();
  const place = placeOf(c.req.header("last-event-id"));
  const since = place ? place.since : sinceOf(query.since, now);
  const scope: LogScope = {
    environmentId: environment.id,
    release: await releaseOf(c, environment.id, query.release),
    accessory: accessoryOf(environment.spec.accessories, query.accessory),
    host: await hostOf(c, query.host),
    run: query.run ?? null,
  };
  return {
    stream: newId("log", now),
    token: c.var.principal.id,
    app,
    environment: environment.name,
    scope,
    follow: query.follow === "1",
    from: place?.from ?? now,
    since,
    tail: query.tail ?? (since === null ? USUAL_TAIL : null),
    after: [...(place?.after ?? [])],
  };
}

function placeOf(text: string | undefined): Place | undefined {
  if (text === undefined || text === "") return undefined;
  const place = parsePlace(text);
  if (place) return place;
  const detail = `\`${text.slice(0, 50)}\` is not a place in a log stream: send the \`id\` of the last event you have, unchanged`;
  throw new ProblemError({ code: "invalid_request", detail });
}

function sinceOf(text: string | undefined, now: number): number | null {
  if (text === undefined) return null;
  const since = parseSince(text, now);
  if (since !== undefined) return since;
  const detail = `\`${text}\` is no time: use a duration such as 10m, or an ISO time such as 2026-11-23T12:00:00Z`;
  throw new ProblemError({ code: "invalid_request", detail });
}

async function releaseOf(
  c: AppContext,
  environmentId: string,
  named: string | undefined,
): Promise<string | null> {
  if (named === undefined) return null;
  const [release] = await findReleases(c.var.db, environmentId, [named]);
  if (release) return release.id;
  throw new ProblemError({
    code: "not_found",
    detail: `there is no release \`${named}\` in this environment`,
    next: [{ command: "sluice releases", when: "to see the releases of an environment" }],
  });
}

function accessoryOf(
  known: EnvironmentStatus["environment"]["spec"]["accessories"],
  named: string | undefined,
) {
  if (named === undefined) return null;
  if (known?.[named]) return named;
  const names = Object.keys(known ?? {}).join(", ");
  const detail = `there is no accessory \`${named}\` in this environment: ${names ? `it has ${names}` : "it has none"}`;
  throw new ProblemError({ code: "not_found", detail });
}

async function hostOf(c: AppContext, named: string | undefined): Promise<string | null> {
  if (named === undefined) return null;
  if (await isHostKnown(c.var.db, named)) return named;
  throw new ProblemError({
    code: "not_found",
    detail: `there is no host \`${named}\``,
    next: [{ command: "sluice hosts", when: "to see all hosts" }],
  });
}
