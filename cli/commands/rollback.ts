import { setTimeout as sleep } from "node:timers/promises";
import type { EnvironmentView } from "../../src/protocol/api/environments.ts";
import type { RollbackAnswer } from "../../src/protocol/api/moves.ts";
import { EXIT } from "../exit-codes.ts";
import { waitAndTell } from "../follow/ending.ts";
import { splitText } from "../follow/release-end.ts";
import { clean, duration, quote } from "../io/print.ts";
import { CliError } from "../io/problem.ts";
import type { Outcome, Session, Target } from "../session.ts";
import { examples, publicUrl, type Register, timeoutOption } from "../verb.ts";

interface RollbackOptions {
  readonly to?: string;
  readonly from?: string;
  readonly timeout: number;
}
const POLL_MS = 250;
/** One table version takes moments: what isn't there after this long has been overtaken by something else. */
const INSTANT_MS = 60_000;

export const rollback: Register = (program, act) => {
  program
    .command("rollback")
    .description("put the traffic back on the release before (instant while it is kept warm)")
    .option("--to <release>", "release id or version (default: the last one that served all traffic)")
    .option("--from <release>", "the release that you saw serving: refused if it is another one by now")
    .addOption(timeoutOption())
    .addHelpText("before", examples("sluice rollback", "sluice rollback --to v41 -e staging"))
    .action(act((session, options: RollbackOptions) => rollBack(session, session.target(), options)));
};

/** Goes back, and waits until the release before serves. */
export async function rollBack(session: Session, target: Target, options: RollbackOptions): Promise<Outcome> {
  const startedAt = session.now();
  const { to, from: seen, timeout: timeoutMs } = options;
  const answer = await session.client.environments.rollback(
    target.app,
    target.environment,
    // Not what serves as the command runs: it may be what a colleague went back to a moment ago.
    { ...(to === undefined ? {} : { to }), ...(seen === undefined ? {} : { from: seen }) },
  );
  const { out } = session;
  out.say(
    `${target.app}/${target.environment}: ${clean(answer.from.version)} → ${clean(answer.to.version)} (${answer.how})`,
  );
  if (answer.how === "restart") {
    out.say(`watch  ${session.command(`watch ${answer.release.id}`)}`);
    return waitAndTell(session, answer.release, { command: "rollback", timeoutMs });
  }
  const environment = await untilServing(session, target, {
    answer,
    deadline: startedAt + Math.min(timeoutMs, INSTANT_MS),
  });
  const url = publicUrl(session, environment);
  const took = duration(session.now() - startedAt);
  out.say(
    out.paint(
      "green",
      `✔ ${clean(answer.to.version)} serves 100% of ${target.app}/${target.environment}, after ${took}`,
    ),
  );
  out.say(`  traffic  ${splitText(environment)}`);
  const { how, from, to: onto } = answer;
  const undo = `${session.command("rollback", target)} --to ${quote(from.version)}`;
  out.say(`  undo     ${undo}`);
  return {
    exit: EXIT.ok,
    json: {
      command: "rollback",
      outcome: "live",
      exitCode: EXIT.ok,
      how,
      from,
      to: onto,
      url,
      traffic: environment.split,
      undo,
    },
    text: out.stdoutIsTty ? undefined : url,
  };
}

/** An instant rollback is one table version: asked for often, because it is over in moments. */
async function untilServing(
  session: Session,
  target: Target,
  { answer, deadline }: { answer: RollbackAnswer; deadline: number },
): Promise<EnvironmentView> {
  for (;;) {
    const { environment } = await session.client.environments.get(target.app, target.environment);
    const serves = environment.split.find((entry) => entry.release === answer.to.release);
    if (serves?.weight === 100) return environment;
    if (session.now() >= deadline)
      throw new CliError("timeout", `the rollback was accepted, but now: ${splitText(environment)}`, {
        next: [{ command: session.command("status", target), when: "to see how it goes on" }],
      });
    await sleep(POLL_MS, undefined, { signal: session.signal });
  }
}
