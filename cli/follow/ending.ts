import { ApiError, ConnectionError } from "../../src/client/index.ts";
import type { EnvironmentView } from "../../src/protocol/api/environments.ts";
import type { ReleaseView } from "../../src/protocol/api/releases.ts";
import { EXIT } from "../exit-codes.ts";
import { duration } from "../io/print.ts";
import type { Outcome, Session } from "../session.ts";
import { publicUrl } from "../verb.ts";
import { type FollowEnd, follow } from "./follow.ts";
import {
  type BlockParts,
  endOf,
  endOfStop,
  failureBlock,
  type ReleaseEnd,
  stopBlock,
  stoppedBlock,
  successBlock,
} from "./release-end.ts";
import { isApproval, type Wait } from "./wait.ts";

interface WaitParts {
  readonly command: string;
  readonly again?: string;
  readonly timeoutMs: number;
  /** `live` (default): it shall serve. `stopped`: it shall go, and its traffic be back. */
  readonly goal?: Goal;
  readonly wait?: Wait;
}
type Goal = "live" | "stopped";

/** Follows a release to its end and says it: block on stderr, URL or JSON as the result, and the exit code. */
export async function waitAndTell(
  session: Session,
  release: ReleaseView,
  parts: WaitParts,
): Promise<Outcome> {
  return (await waitFor(session, release, parts)).tell();
}

/** Follows a release to its end; what there is to say of it waits until `tell` is called. */
export async function waitFor(
  session: Session,
  release: ReleaseView,
  parts: WaitParts,
): Promise<{ readonly end: FollowEnd; readonly tell: () => Promise<Outcome> }> {
  const was = replacedVersion(release, await readEnvironment(session, release));
  // Who orders a stop doesn't want to hear that it waits to be promoted.
  const wait = parts.wait ?? { kind: "done" };
  const end = await follow(session, release, { timeoutMs: parts.timeoutMs, was, wait });
  return { end, tell: async () => tellAny() };

  function tellAny(): Promise<Outcome> | Outcome {
    if (end.kind === "over") return tell(session, end.release, { ...parts, was });
    if (end.kind === "reached" || end.kind === "waiting")
      return tellStop(session, end, { command: parts.command, wait, was });
    return tellUnfinished(session, release, { ...parts, end });
  }
}

interface TellParts {
  readonly command: string;
  readonly goal?: Goal;
  readonly was?: string | undefined;
  /** What asks for the same again, where that is more than a deploy. */
  readonly again?: string;
}

/** The last word on a release that is over, with the traffic as it is now and not as it was meant to be. */
export async function tell(
  session: Session,
  release: ReleaseView,
  { command, goal = "live", was, again }: TellParts,
): Promise<Outcome> {
  const environment = await readEnvironment(session, release);
  const end = (goal === "live" ? endOf : endOfStop)(release, environment);
  const url = publicUrl(session, environment);
  const next = release.next.map((step) => ({
    ...step,
    command: again && step.command.startsWith("sluice deploy ") ? again : session.carry(step.command),
  }));
  const undo = session.command("rollback", release);
  const block = {
    release,
    environment,
    url,
    undo,
    next,
    was: was ?? replacedVersion(release, environment),
    paint: session.out.paint,
  };
  const serves = end.outcome === "live" || end.outcome === "superseded";
  session.out.say(blockText(block, end, goal));
  return {
    exit: end.exit,
    json: {
      command,
      outcome: end.outcome,
      exitCode: end.exit,
      url: url ?? null,
      release,
      traffic: environment?.split ?? null,
      undo: end.outcome === "live" && environment?.rollback.possible ? undo : null,
      next,
    },
    text: serves && end.exit === EXIT.ok && !session.out.stdoutIsTty ? url : undefined,
  };
}

function blockText(block: BlockParts, end: ReleaseEnd, goal: Goal): string {
  if (end.exit !== EXIT.ok) return failureBlock(block, end);
  return goal === "live" ? successBlock(block) : stoppedBlock(block, end);
}

interface StopParts {
  readonly command: string;
  readonly wait: Wait;
  readonly was: string | undefined;
}

/** It goes on, or could: how far it is, what the judge says, and what it waits for. */
async function tellStop(
  session: Session,
  { kind, release }: { kind: "reached" | "waiting"; release: ReleaseView },
  { command, wait, was }: StopParts,
): Promise<Outcome> {
  const environment = await readEnvironment(session, release);
  const next = release.next.map((step) => ({ ...step, command: session.carry(step.command) }));
  const exit = kind === "reached" || isApproval(release, wait) ? EXIT.ok : EXIT.waiting;
  const parts = { release, environment, url: undefined, undo: "", was, next, paint: session.out.paint };
  session.out.say(stopBlock(parts, kind));
  const url = publicUrl(session, environment) ?? null;
  const traffic = environment?.split ?? null;
  return { exit, json: { command, outcome: kind, exitCode: exit, url, release, traffic, next } };
}

/** Whose traffic it takes, or took: the plan says so, else the split does, else where a rollback would go. */
function replacedVersion(release: ReleaseView, environment: EnvironmentView | undefined): string | undefined {
  const others = environment?.split.filter((entry) => entry.release !== release.id && entry.weight > 0) ?? [];
  const most = others.sort((a, b) => b.weight - a.weight)[0];
  return release.plan.replaces?.version ?? most?.version ?? environment?.rollback.to?.version;
}

/** Undefined is an answer here: the end then claims nothing about the traffic. */
async function readEnvironment(session: Session, release: ReleaseView): Promise<EnvironmentView | undefined> {
  try {
    return (await session.client.environments.get(release.app, release.environment)).environment;
  } catch (error) {
    if (error instanceof ApiError || error instanceof ConnectionError) {
      session.out.say(`could not read ${release.app}/${release.environment}: ${error.message}`);
      return undefined;
    }
    throw error;
  }
}

function tellUnfinished(
  session: Session,
  release: ReleaseView,
  parts: WaitParts & { end: Extract<FollowEnd, { kind: "timeout" | "detached" | "lost" }> },
): Outcome {
  const { end } = parts;
  const watch = session.command(`watch ${release.id}`);
  const reason = {
    timeout: `stopped waiting after ${duration(parts.timeoutMs)}`,
    detached: "detached",
    lost: `lost contact: ${end.kind === "lost" ? end.reason : ""}`,
  }[end.kind];
  session.out.say(`${reason}. ${release.version} goes on without this command.\n  watch  ${watch}`);
  const exit = end.kind === "detached" ? EXIT.interrupted : EXIT.noAnswer;
  const next = [{ command: watch, when: "to see how it goes on" }];
  return { exit, json: { command: parts.command, outcome: end.kind, exitCode: exit, release, next } };
}
