import type { ReleaseView } from "../../src/protocol/api/releases.ts";
import { EXIT } from "../exit-codes.ts";
import { clean } from "../io/print.ts";
import type { Outcome, Session } from "../session.ts";
import { examples, type Register } from "../verb.ts";
import { meantRelease } from "./watch.ts";

const RELEASE = ["[release]", "release id or version (default: the one on its way)"] as const;

export const approve: Register = (program, act) => {
  program
    .command("approve")
    .argument(...RELEASE)
    .description("let a release go on that waits for somebody else than its starter")
    .option("--digest <digest>", "the image you looked at: refused if it is another")
    .addHelpText("before", examples("sluice approve", "sluice approve rel_01J9… --digest sha256:…"))
    .action(act(run));
};

export const reject: Register = (program, act) => {
  program
    .command("reject")
    .argument(...RELEASE)
    .description("end a release that waits for an approval")
    .option("--reason <text>", "for those who wait, and for the audit log")
    .addHelpText("before", examples('sluice reject --reason "not before the weekend"'))
    .action(
      act(async (session: Session, id: string | undefined, options: { reason?: string }) => {
        const release = await session.client.releases.reject(
          await meantRelease(session, "reject", id),
          options,
        );
        return tell(session, "reject", release, "is rejected; who served before has the traffic");
      }),
    );
};

/** Sends the digest and the step that were seen just now, so that nobody approves what nobody looked at. */
async function run(session: Session, id: string | undefined, options: { digest?: string }): Promise<Outcome> {
  const { client } = session;
  const seen = await client.releases.get(await meantRelease(session, "approve", id));
  const digest = options.digest ?? seen.approval?.digest;
  const step = seen.approval?.step ?? undefined;
  const release = await client.releases.approve(seen.id, {
    ...(digest === undefined ? {} : { digest }),
    ...(step === undefined ? {} : { step }),
  });
  const left = (release.approval?.needed ?? 0) - (release.approval?.given.length ?? 0);
  const more = left > 0 ? `; ${left} more needed` : "";
  return tell(session, "approve", release, `is approved as ${digest ?? "it is"}${more}`);
}

function tell(session: Session, command: string, release: ReleaseView, says: string): Outcome {
  session.out.say(`${clean(release.version)} ${clean(says)}`);
  session.out.say(`  watch  ${session.command(`watch ${release.id}`)}`);
  return { exit: EXIT.ok, json: { command, exitCode: EXIT.ok, release } };
}
