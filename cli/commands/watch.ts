import { tell, waitAndTell } from "../ending.ts";
import { CliError } from "../problem.ts";
import { isOver } from "../progress.ts";
import type { Outcome, Session } from "../session.ts";
import { examples, type Register, timeoutOption } from "./verb.ts";

export const watch: Register = (program, act) => {
  program
    .command("watch")
    .argument("[release]", "release id (default: the one on its way)")
    .description("follow a release to its end; the exit codes are deploy's")
    .addOption(timeoutOption())
    .addHelpText("before", examples("sluice watch", "sluice watch rel_01J9… --json=stream"))
    .action(act(run));
};

async function run(session: Session, id: string | undefined, options: { timeout: number }): Promise<Outcome> {
  const release = await session.client.release(id ?? (await activeRelease(session, "watch")));
  if (isOver(release.state)) return tell(session, release, { command: "watch" });
  return waitAndTell(session, release, { command: "watch", timeoutMs: options.timeout });
}

/** The release on its way in the target environment; for `watch`, else the one that serves. */
export async function activeRelease(session: Session, verb: "watch" | "abort"): Promise<string> {
  const target = session.target();
  const { environment } = await session.client.environment(target.app, target.environment);
  const found = environment.active ?? (verb === "watch" ? environment.live : null);
  if (found) return found.id;
  throw new CliError("usage", `no release is on its way in ${target.app}/${target.environment}`, {
    title: `nothing to ${verb}`,
    next: [{ command: session.command("releases", target), when: "to see the ones before" }],
  });
}
