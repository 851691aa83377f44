import { waitAndTell } from "../follow/ending.ts";
import type { Outcome, Session } from "../session.ts";
import { examples, type Register, timeoutOption } from "../verb.ts";
import { meantRelease } from "./watch.ts";

interface AbortOptions {
  readonly reason?: string;
  readonly timeout: number;
}

export const abort: Register = (program, act) => {
  program
    .command("abort")
    .argument("[release]", "release id or version (default: the one on its way)")
    .description("stop a release on its way and put its traffic back; exits 0 once it is back")
    .option("--reason <text>", "for the audit log")
    .addOption(timeoutOption())
    .addHelpText("before", examples("sluice abort", 'sluice abort rel_01J9… --reason "wrong branch"'))
    .action(act(run));
};

async function run(session: Session, id: string | undefined, options: AbortOptions): Promise<Outcome> {
  const { client } = session;
  const { reason, timeout: timeoutMs } = options;
  const release = await client.releases.abort(
    await meantRelease(session, "abort", id),
    reason === undefined ? {} : { reason },
  );
  return waitAndTell(session, release, { command: "abort", timeoutMs, goal: "stopped" });
}
