export * from "./client.ts";
export * from "./errors.ts";
export type { FeedItem, FollowOptions } from "./feed.ts";
export type { LogItem, LogsOptions } from "./logs.ts";
export type { ClientOptions } from "./transport.ts";
export type { PageQuery } from "./wire.ts";
