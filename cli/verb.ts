import { type Command, InvalidArgumentError, Option } from "commander";
import type { EnvironmentView } from "../src/protocol/api/environments.ts";
import { durationSchema } from "../src/protocol/manifest/scalars.ts";
import type { Outcome, Session } from "./session.ts";

/** Turns a command's function into commander's action, with the session made from the global flags. */
export type Act = <Args extends unknown[]>(
  run: (session: Session, ...args: Args) => Promise<Outcome>,
) => (...args: Args) => Promise<void>;

/** Adds one verb to the program. */
export type Register = (program: Command, act: Act) => void;

/** Examples come first in help: they are what most people came for. */
export const examples = (...lines: readonly string[]) =>
  `Examples:\n${lines.map((line) => `  ${line}`).join("\n")}\n`;

/** Of a group: all of its examples in its own help, and in that of one of its commands the ones of that command. */
export const examplesOfEach =
  (...lines: readonly string[]) =>
  ({ command }: { command: Command }): string => {
    const path: string[] = [];
    for (let at: Command | null = command; at; at = at.parent) path.unshift(at.name());
    return examples(...lines.filter((line) => line.includes(path.join(" "))));
  };

export function parseDuration(text: string): number {
  const parsed = durationSchema.safeParse(text);
  if (parsed.success && parsed.data > 0) return Math.min(parsed.data, 2 ** 31 - 1);
  throw new InvalidArgumentError("It must be a duration such as 90s, 10m or 2h.");
}

export const parseCount =
  (max: number, least = 1) =>
  (text: string) => {
    const value = Number(text);
    if (Number.isInteger(value) && value >= least && value <= max) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${least} to ${max}.`);
  };

/** How long to wait for `what`, which goes on without anybody who waits. */
export const timeoutOption = (fallback = "2h", what = "the release") =>
  new Option("--timeout <duration>", `stop waiting after this long (${what} goes on)`)
    .argParser(parseDuration)
    .default(parseDuration(fallback), fallback);

/** Where people reach the environment: its first hostname. A wildcard is no place to go. */
export function publicUrl(session: Session, environment: EnvironmentView | undefined): string | undefined {
  const hostname = environment?.hostnames.find((name) => !name.startsWith("*."));
  return hostname === undefined ? undefined : edgeUrl(session, hostname) + pathOf(hostname);
}

/** The address of a hostname, or the local edge's for it: without the path that it may end in. */
export function edgeUrl(session: Session, hostname: string): string {
  const { edge } = session.config;
  const name = nameOf(hostname);
  if (edge === undefined) return `https://${name}`;
  const url = new URL(edge);
  url.hostname = name;
  return url.origin;
}

/** An address that control tells, as it is reached from here: at the local edge, where that serves it. */
export function urlFromHere(session: Session, url: string): string {
  const { hostname, pathname } = new URL(url);
  return edgeUrl(session, hostname) + pathname.replace(/\/$/, "");
}

/** `shop.example.com/api` is a name and the beginning of a path. */
export const nameOf = (hostname: string): string => hostname.split("/", 1)[0] ?? hostname;
export const pathOf = (hostname: string): string => hostname.slice(nameOf(hostname).length);
