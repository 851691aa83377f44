import { collect, type PageQuery } from "../../src/client/index.ts";
import type { EnvironmentView } from "../../src/protocol/api/environments.ts";
import { tell, waitAndTell } from "../follow/ending.ts";
import { isDone } from "../follow/progress.ts";
import { type Wait, waitOption } from "../follow/wait.ts";
import { exitTable } from "../help.ts";
import { CliError } from "../io/problem.ts";
import type { Outcome, Session } from "../session.ts";
import { examples, type Register, timeoutOption } from "../verb.ts";

export const watch: Register = (program, act) => {
  program
    .command("watch")
    .argument("[release]", "release id or version (default: the one on its way)")
    .description("follow a release to its end; the exit codes are deploy's")
    .addOption(waitOption())
    .addOption(timeoutOption())
    .addHelpText("before", examples("sluice watch", "sluice watch rel_01J9… --json=stream"))
    .addHelpText("after", exitTable())
    .action(act(run));
};

interface WatchOptions {
  readonly timeout: number;
  readonly wait: Wait;
}

async function run(session: Session, id: string | undefined, options: WatchOptions): Promise<Outcome> {
  const release = await session.client.releases.get(await meantRelease(session, "watch", id));
  if (isDone(release)) return tell(session, release, { command: "watch" });
  const { timeout: timeoutMs, wait } = options;
  return waitAndTell(session, release, { command: "watch", timeoutMs, wait });
}

/** Verbs that mean the serving release where none is on its way; those of the second set don't ask what only waits. */
const OF_LIVE: ReadonlySet<string> = new Set(["watch", "preview", "verdicts"]);
const OF_BEGUN: ReadonlySet<string> = new Set(["preview", "verdicts"]);

/** As many releases back as a version label is looked for. */
const LABELS_IN_VIEW = 500;

/** The release that a verb means: by id, by its version label in the target environment, or the one on its way. */
export async function meantRelease(
  session: Session,
  verb: string,
  named: string | undefined,
): Promise<string> {
  if (named === undefined) return activeRelease(session, verb);
  if (named.startsWith("rel_")) return named;
  const target = session.target();
  const list = (page: PageQuery) => session.client.releases.list(target.app, target.environment, page);
  const releases = await collect(list, LABELS_IN_VIEW);
  const found = releases.find(({ version }) => version === named);
  if (found) return found.id;
  const newest = releases.slice(0, 5).map(({ version }) => version);
  const known = newest.length > 0 ? `; the newest are ${newest.join(", ")}` : "";
  throw new CliError("usage", `no release ${named} in ${target.app}/${target.environment}${known}`, {
    title: "no such release",
    next: [{ command: session.command("releases", target), when: "to see all of them" }],
  });
}

/**
 * The release on its way in the target environment, else the only one that waits; for some verbs, else the one that serves, or
 * for verdicts the newest where that was undone: it is what people ask about.
 */
async function activeRelease(session: Session, verb: string): Promise<string> {
  const target = session.target();
  const { environment } = await session.client.environments.get(target.app, target.environment);
  const [queued, ...others] = OF_BEGUN.has(verb) ? [] : environment.queued;
  const at = `${target.app}/${target.environment}`;
  if (!environment.active && queued && others.length > 0) throw severalQueued(session, verb, at, environment);
  const undone = verb === "verdicts" ? environment.lastFailed?.id : undefined;
  const live = OF_LIVE.has(verb) ? (undone ?? environment.live?.id) : undefined;
  const found = environment.active?.id ?? queued?.release ?? live;
  if (found) return found;
  throw new CliError("state_changed", `no release is on its way in ${at}`, {
    title: NOTHING[verb] ?? `nothing to ${verb}`,
    next: [{ command: session.command("releases", target), when: "to see the ones before" }],
  });
}

const NOTHING: Readonly<Record<string, string>> = { verdicts: "nothing was judged" };

/** Several wait and none has begun: which one is meant is not this command's to guess. */
function severalQueued(session: Session, verb: string, at: string, { queued }: EnvironmentView): CliError {
  const versions = queued.map(({ version }) => version).join(", ");
  return new CliError("state_changed", `${versions} wait in ${at}, and none has begun: name one`, {
    title: "several releases wait",
    next: queued.map(({ release, version }) => ({
      command: session.command(`${verb} ${release}`),
      when: `you mean ${version}`,
    })),
  });
}
