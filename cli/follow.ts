import { ConnectionError } from "../src/client/index.ts";
import type { ReleaseView } from "../src/protocol/api.ts";
import { Interrupted } from "./problem.ts";
import { isOver } from "./progress.ts";
import { createReporter } from "./reporter.ts";
import type { Session } from "./session.ts";

/** How following ended. Only `over` says anything about the release: in the other cases it goes on without us. */
export type FollowEnd =
  | { readonly kind: "over"; readonly release: ReleaseView }
  | { readonly kind: "timeout" | "detached" }
  | { readonly kind: "lost"; readonly reason: string };

interface FollowParts {
  readonly timeoutMs: number;
}

/**
 * Shows a release's events until it is over, `timeoutMs` passed, Ctrl-C, or contact is lost for two minutes. Never
 * changes the release: control owns it.
 */
export async function follow(session: Session, release: ReleaseView, parts: FollowParts): Promise<FollowEnd> {
  const deadline = AbortSignal.timeout(parts.timeoutMs);
  const signal = AbortSignal.any([session.signal, deadline]);
  const reporter = createReporter({ out: session.out, release, now: session.now });
  try {
    return { kind: "over", release: await untilOver(session, release, { signal, reporter }) };
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
}

/** Events say when to look; what is believed is the release as control answers it. */
async function untilOver(session: Session, release: ReleaseView, parts: UntilParts): Promise<ReleaseView> {
  const { signal, reporter } = parts;
  let current = release;
  for await (const item of session.client.followRelease(release.id, { signal })) {
    reporter.item(item);
    if (item.kind === "event") session.out.event(item.event);
    if (item.kind === "lost") continue;
    const ends = item.kind === "event" && isOver(String(item.event.data.state ?? ""));
    if (item.kind === "event" && !ends) continue;
    current = await session.client.release(release.id);
    if (isOver(current.state)) return current;
    reporter.refresh(current);
  }
  current = await session.client.release(release.id);
  if (isOver(current.state)) return current;
  throw new ConnectionError(`the event feed ended while the release is ${current.state}`, {
    url: session.config.url,
  });
}
