import type { LogEndView, LogLineView } from "../../../src/protocol/api/logs.ts";
import type { Route } from "./fake-api.ts";

export const LOGS = "GET /api/v1/apps/shop/envs/production/logs";

type Feed = ReturnType<Parameters<Route>[1]["feed"]>;

export const logLine = (text: string, over: Partial<LogLineView> = {}): LogLineView => ({
  at: "2026-11-23T12:00:00.000Z",
  host: "web-1",
  instance: "rel_2-1",
  version: "v2",
  stream: "stdout",
  text,
  ...over,
});

const send = (feed: Feed, event: string, data: object, id?: string) =>
  feed.raw(`${id === undefined ? "" : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);

/** A log stream's events, as control sends them. */
export const logFeed = (feed: Feed) => ({
  lines: (id: string, ...lines: readonly (string | LogLineView)[]) =>
    send(
      feed,
      "lines",
      { lines: lines.map((line) => (typeof line === "string" ? logLine(line) : line)) },
      id,
    ),
  host: (state: string, message: string) => send(feed, "host", { host: "web-1", state, message }),
  gap: (bytes: number) =>
    send(feed, "gap", {
      host: "web-1",
      bytes,
      message: `${bytes} bytes of the log on web-1 were rotated away`,
    }),
  end(over: Partial<LogEndView> = {}) {
    send(feed, "end", { hosts: ["web-1"], answered: ["web-1"], message: "1 of 1 hosts answered", ...over });
    feed.end();
  },
  drop: () => feed.drop(),
  close: () => feed.end(),
});
