import { EXIT } from "../../exit-codes.ts";
import { waitAndTell } from "../../follow/ending.ts";
import { type Wait, waitOption } from "../../follow/wait.ts";
import { idempotencyKey } from "../../io/idempotency.ts";
import { clean } from "../../io/print.ts";
import { CliError } from "../../io/problem.ts";
import type { Outcome, Session } from "../../session.ts";
import { examples, type Register, timeoutOption } from "../../verb.ts";
import { createRelease, holdOption, overrideOption, sayCreated, whenBusyOption } from "../deploy.ts";

interface PromoteToOptions {
  readonly from: string;
  readonly release?: string;
  readonly version?: string;
  readonly whenBusy: "queue" | "reject" | "supersede";
  readonly hold?: boolean;
  readonly override?: boolean | string;
  readonly timeout: number;
  readonly wait: Wait;
  readonly detach?: boolean;
}

export const promoteTo: Register = (program, act) => {
  program
    .command("promote-to")
    .argument("<environment>", "where to release it")
    .description("release the very digest that serves in another environment; nothing is built")
    .requiredOption("--from <environment>", "where it serves, and was looked at")
    .option(
      "--release <release>",
      "the release (id or version) that you looked at: refused if another one serves there now",
    )
    .option("--version <label>", "a label for people (default: v<n>)")
    .addOption(whenBusyOption())
    .addOption(holdOption())
    .addOption(overrideOption())
    .option("--detach", "don't wait: print the release and leave")
    .addOption(waitOption())
    .addOption(timeoutOption())
    .addHelpText(
      "before",
      examples(
        "sluice promote-to production --from staging",
        "sluice promote-to production --from staging --release v41",
      ),
    )
    .action(act(run));
};

async function run(session: Session, environment: string, options: PromoteToOptions): Promise<Outcome> {
  const { from, detach, timeout: timeoutMs, wait } = options;
  if (from === environment) throw new CliError("usage", `--from ${clean(from)}: that is where it is to go`);
  const app = session.app();
  const seen = options.release ?? (await whatServes(session, app, from));
  const body = {
    from: { environment: from, release: seen },
    whenBusy: options.whenBusy,
    ...(options.version === undefined ? {} : { version: options.version }),
    ...(options.hold ? { hold: true } : {}),
    ...(options.override ? { override: options.override } : {}),
  };
  const at = { app, environment };
  const key = idempotencyKey(session.env, { ...at, body });
  const created = await createRelease(session, { ...at, idempotencyKey: key }, body);
  sayCreated(session, created, `  (from ${clean(from)})`);
  const { release } = created;
  if (!detach) return waitAndTell(session, release, { command: "promote-to", timeoutMs, wait });
  const json = { command: "promote-to", outcome: "started", exitCode: EXIT.ok, release };
  return { exit: EXIT.ok, json, text: session.out.stdoutIsTty ? undefined : release.id };
}

/** Said before it is sent: what is promoted is what stood here, or nothing. */
async function whatServes(session: Session, app: string, from: string): Promise<string> {
  const { live } = (await session.client.environments.get(app, from)).environment;
  if (!live) throw new CliError("release_not_serving", `nothing serves in ${app}/${clean(from)}`);
  session.out.say(
    `${app}/${clean(from)} serves ${clean(live.version)}  ${clean(live.image)}${live.git ? `  ${live.git.sha.slice(0, 12)}` : ""}`,
  );
  return live.id;
}
