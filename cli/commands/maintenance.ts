import { Argument } from "commander";
import type { EnvironmentView } from "../../src/protocol/api/environments.ts";
import { EXIT } from "../exit-codes.ts";
import type { Outcome, Session } from "../session.ts";
import { examples, parseDuration, type Register } from "../verb.ts";

interface MaintenanceOptions {
  readonly message?: string;
  readonly retryAfter?: number;
  readonly pause?: boolean;
}

export const maintenance: Register = (program, act) => {
  program
    .command("maintenance")
    .addArgument(new Argument("<on|off>", "let visitors in, or not").choices(["on", "off"]))
    .description("answer every visitor 503 with a page of yours, or let them in again")
    .option("--message <text>", "what the page says")
    .option("--retry-after <duration>", "when to come back (default: 2m)", parseDuration)
    .option("--pause", "hold requests for up to 30 s instead, then 503")
    .addHelpText(
      "before",
      examples('sluice maintenance on --message "Back at nine" --retry-after 30m', "sluice maintenance off"),
    )
    .action(act(run));
};

async function run(session: Session, word: string, options: MaintenanceOptions): Promise<Outcome> {
  const { app, environment } = session.target();
  const { client } = session;
  const after =
    word === "off"
      ? await client.environments.endMaintenance(app, environment)
      : await client.environments.beginMaintenance(app, environment, bodyOf(options));
  session.out.say(`${app}/${environment} ${SAID[after.mode]}`);
  return { exit: EXIT.ok, json: { command: "maintenance", exitCode: EXIT.ok, mode: after.mode } };
}

const SAID: Record<EnvironmentView["mode"], string> = {
  open: "is open to visitors",
  paused: "holds visitors' requests for up to 30 s, then answers 503",
  maintenance: "is in maintenance: visitors get 503",
};

function bodyOf({ message, retryAfter, pause }: MaintenanceOptions) {
  return {
    mode: pause ? ("pause" as const) : ("maintenance" as const),
    ...(message === undefined ? {} : { message }),
    ...(retryAfter === undefined ? {} : { retryAfterS: Math.max(1, Math.round(retryAfter / 1_000)) }),
  };
}
