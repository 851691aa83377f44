import { createRoute, z } from "@hono/zod-openapi";
import { authorize } from "../http/auth.ts";
import { ProblemError } from "../http/problems.ts";
import { requireRelease } from "../http/require.ts";
import { newRouter, releaseParams } from "../http/route-parts.ts";
import { isTokenGood } from "../store/tokens.ts";
import { FEED_TIMES, type FeedTimes, openFeed } from "../streams/feed.ts";
import type { Readers } from "../streams/readers.ts";

const feed = createRoute({
  method: "get",
  path: "/api/v1/releases/{id}/events",
  summary: "A release's events as they happen (SSE)",
  description:
    "`id` is the event's id, `event` its type, `data` an Event. Goes on after `Last-Event-ID` (or `after`); a named `heartbeat` every 10 s; ends when the release is at rest.",
  tags: ["releases"],
  request: {
    params: releaseParams,
    query: z.object({ after: z.string().optional().describe("as `Last-Event-ID`, for clients without it") }),
    headers: z.object({ "last-event-id": z.string().optional() }),
  },
  responses: {
    200: { description: "The feed", content: { "text/event-stream": { schema: z.string() } } },
    204: { description: "The release is at rest and nothing is newer: don't come back" },
  },
});

export const feedRoutes = (readers: Readers, times: FeedTimes = FEED_TIMES) =>
  newRouter().openapi(feed, async (c) => {
    const { id } = c.req.valid("param");
    const { app, environment } = await requireRelease(c, id);
    authorize(c, { role: "viewer", app, environment: environment.name });
    const after = parseEventId(c.req.header("last-event-id") ?? c.req.valid("query").after);
    const { db, now, principal } = c.var;
    const isWelcome = () => isTokenGood(db, principal.id, now());
    const stream = await readers.open(principal.id, () =>
      openFeed({ db, release: id, after, now, times, isWelcome }),
    );
    if (stream === null) return c.body(null, 204);
    c.header("content-type", "text/event-stream; charset=utf-8");
    // No proxy on the way may hold it back or compress it.
    c.header("cache-control", "no-store, no-transform");
    c.header("x-accel-buffering", "no");
    return c.body(stream, 200);
  });

function parseEventId(text: string | undefined): number {
  if (text === undefined || text === "") return 0;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  const detail = `\`${text.slice(0, 50)}\` is not an event's id: send the \`id\` of the last event you have, unchanged`;
  throw new ProblemError({ code: "invalid_request", detail });
}
