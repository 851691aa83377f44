import { ApiError, ConnectionError } from "../../src/client/index.ts";
import type { EventView } from "../../src/protocol/api/events.ts";
import type { ReleaseView } from "../../src/protocol/api/releases.ts";
import { inWords } from "../io/print.ts";
import { Interrupted } from "../io/problem.ts";
import type { Session } from "../session.ts";
import { isDone, isOver, turnOf } from "./progress.ts";
import { createReporter } from "./reporter.ts";
import { stopOf, type Wait } from "./wait.ts";

/** How following ended. Only `over` says anything about the release: in the other cases it goes on without us. */
export type FollowEnd =
  | { readonly kind: "over"; readonly release: ReleaseView }
  | { readonly kind: "reached"; readonly release: ReleaseView }
  | { readonly kind: "waiting"; readonly release: ReleaseView }
  | { readonly kind: "timeout" | "detached" }
  | { readonly kind: "lost"; readonly reason: string };

interface FollowParts {
  readonly timeoutMs: number;
  readonly wait: Wait;
  /** The version that had the traffic before. */
  readonly was: string | undefined;
}

/**
 * Shows a release's events until it is over, got as far as was asked, waits for a person, `timeoutMs` passed, Ctrl-C, or contact is lost for a minute. Never
 * changes the release: control owns it.
 */
export async function follow(session: Session, release: ReleaseView, parts: FollowParts): Promise<FollowEnd> {
  const deadline = AbortSignal.timeout(parts.timeoutMs);
  const signal = AbortSignal.any([session.signal, deadline]);
  const reporter = createReporter({ out: session.out, release, was: parts.was, now: session.now });
  try {
    return await untilOver(session, release, { signal, reporter, wait: parts.wait });
  } catch (error) {
    if (session.signal.aborted || error instanceof Interrupted) return { kind: "detached" };
    if (deadline.aborted) return { kind: "timeout" };
    if (error instanceof ConnectionError) return { kind: "lost", reason: error.message };
    throw error;
  } finally {
    reporter.stop();
  }
}

interface UntilParts {
  readonly signal: AbortSignal;
  readonly reporter: ReturnType<typeof createReporter>;
  readonly wait: Wait;
}
type Seen = Exclude<FollowEnd, { readonly kind: "timeout" | "detached" | "lost" }>;

/** While traffic shifts, progress may be a step or a pause; before that it is of jobs, and would make many calls. */
const isNews = (type: EventView["type"], state: ReleaseView["state"]) =>
  type === "release.state" || (type === "release.progress" && state === "shifting");

/**
 * Changes of state and heartbeats say when to look; what is believed is the release as control answers it. A release
 * that is over before its last event came is not left at once: the lines on the way would be lost.
 */
async function untilOver(session: Session, release: ReleaseView, parts: UntilParts): Promise<Seen> {
  const { signal, reporter, wait } = parts;
  let beatsAfterEnd = 0;
  let { state } = release;
  for await (const item of session.client.releases.follow(release.id, { signal })) {
    reporter.item(item);
    if (item.kind === "lost") continue;
    if (item.kind === "event") session.out.event(item.event);
    if (item.kind === "event" && !isNews(item.event.type, state)) continue;
    const current = await session.client.releases.get(release.id);
    state = current.state;
    const told = item.kind === "event" && isOver(String(item.event.data.state ?? ""));
    const stop = stopOf(current, wait);
    const isAtEnd = isDone(current) || stop !== undefined;
    if (isAtEnd && item.kind === "heartbeat") beatsAfterEnd += 1;
    if (isDone(current) && (told || beatsAfterEnd > 1)) return { kind: "over", release: current };
    const isToldStop = stop && item.kind === "event" && Date.parse(item.event.at) >= stop.at;
    if (stop && (isToldStop || beatsAfterEnd > 1)) return { kind: stop.kind, release: current };
    if (!isDone(current)) reporter.refresh(current, await turn(session, current));
  }
  const last = await session.client.releases.get(release.id);
  if (isDone(last)) return { kind: "over", release: last };
  const message = `the event feed ended while the release is ${inWords(last.state)}`;
  throw new ConnectionError(message, { url: session.config.url });
}

/** A queued release doesn't say what it waits for: its environment does. Where that can't be read, nothing is said. */
async function turn(session: Session, release: ReleaseView): Promise<string | undefined> {
  if (release.state !== "queued") return undefined;
  try {
    const { environment } = await session.client.environments.get(release.app, release.environment);
    return turnOf(release, environment);
  } catch (error) {
    if (error instanceof ApiError) return undefined;
    throw error;
  }
}
