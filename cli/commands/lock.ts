import { Option } from "commander";
import { EXIT } from "../exit-codes.ts";
import { clean, duration, until } from "../io/print.ts";
import { CliError } from "../io/problem.ts";
import type { Outcome, Session } from "../session.ts";
import { examples, parseDuration, type Register } from "../verb.ts";

interface LockOptions {
  readonly reason: string;
  readonly for: number;
}
const MINUTE_MS = 60_000;
const WEEK_MS = 604_800_000;

export const lock: Register = (program, act) => {
  program
    .command("lock")
    .description("keep releases from beginning; what is on its way goes on, and rollback always works")
    .requiredOption("--reason <text>", "why, for whoever meets the lock")
    .addOption(
      new Option("--for <duration>", "the lock ends by itself after this long, at most 7d")
        .argParser(parseDuration)
        .default(86_400_000, "24h"),
    )
    .addHelpText("before", examples('sluice lock --reason "database maintenance" --for 2h'))
    .action(act(runLock));
};

export const unlock: Register = (program, act) => {
  program
    .command("unlock")
    .description("end a lock, whoever set it; the audit log says who did")
    .addHelpText("before", examples("sluice unlock"))
    .action(act(runUnlock));
};

async function runLock(session: Session, { reason, for: forMs }: LockOptions): Promise<Outcome> {
  const target = session.target();
  if (forMs > WEEK_MS)
    throw new CliError("usage", `--for ${duration(forMs)} is more than 7d: a lock that long is forgotten`);
  const expiresInMinutes = Math.max(1, Math.ceil(forMs / MINUTE_MS));
  const environment = await session.client.environments.lock(target.app, target.environment, {
    reason,
    expiresInMinutes,
  });
  const at = `${target.app}/${target.environment}`;
  const held = environment.lock;
  const end = held ? `, ends ${until(held.expiresAt, session.now())}` : "";
  session.out.say(`${at} is locked${end}: ${clean(reason)}\n  undo  ${session.command("unlock", target)}`);
  return { exit: EXIT.ok, json: { command: "lock", exitCode: EXIT.ok, lock: held } };
}

async function runUnlock(session: Session): Promise<Outcome> {
  const target = session.target();
  const { client } = session;
  const { environment: before } = await client.environments.get(target.app, target.environment);
  await client.environments.unlock(target.app, target.environment);
  const held = before.lock?.holder.startsWith("rel_") ? null : before.lock;
  const was = held ? `unlocked (was ${clean(held.holder)}: ${clean(held.reason)})` : "not locked by anyone";
  session.out.say(`${target.app}/${target.environment} is ${was}`);
  return { exit: EXIT.ok, json: { command: "unlock", exitCode: EXIT.ok, was: held } };
}
