import { InvalidArgumentError } from "commander";
import { EXIT } from "../../exit-codes.ts";
import { waitAndTell } from "../../follow/ending.ts";
import type { Outcome, Session } from "../../session.ts";
import { examples, type Register, timeoutOption } from "../../verb.ts";

interface Waiting {
  readonly timeout: number;
}

export const restart: Register = (program, act) => {
  program
    .command("restart")
    .description("start what is live anew, one instance after the other, with no request dropped")
    .addOption(timeoutOption())
    .addHelpText("before", examples("sluice restart", "sluice restart -e staging"))
    .action(
      act(async (session, { timeout }: Waiting) => {
        const { app, environment } = session.target();
        const { release } = await session.client.processes.restart(app, environment);
        return wait(session, release, { command: "restart", timeout, done: "" });
      }),
    );
};

export const scale: Register = (program, act) => {
  program
    .command("scale")
    .argument("<process=count...>", "web or a worker, and how many of it", collectCounts, {})
    .description("set how many of each process run, until the next apply")
    .addOption(timeoutOption())
    .addHelpText("before", examples("sluice scale web=4", "sluice scale worker=2 mailer=1"))
    .action(
      act(async (session, counts: Record<string, number>, { timeout }: Waiting) => {
        const { app, environment } = session.target();
        const { release } = await session.client.processes.scale(app, environment, counts);
        const words = Object.entries(counts).map(([name, count]) => `${name}=${count}`);
        return wait(session, release, { command: "scale", timeout, done: `scaled: ${words.join(", ")}` });
      }),
    );
};

async function wait(
  session: Session,
  release: string | null,
  { command, timeout, done }: { command: string; timeout: number; done: string },
): Promise<Outcome> {
  if (release === null) return { exit: EXIT.ok, json: { command, release }, text: done };
  const begun = await session.client.releases.get(release);
  return waitAndTell(session, begun, { command, timeoutMs: timeout, goal: "live" });
}

/** `web=4` after `worker=2`. */
function collectCounts(text: string, before: Readonly<Record<string, number>>): Record<string, number> {
  const [, name, count] = /^([a-z0-9-]{1,40})=(\d{1,3})$/.exec(text) ?? [];
  if (name === undefined || Number(count) > 100)
    throw new InvalidArgumentError("It must be a process and a count up to 100, such as web=4.");
  return { ...before, [name]: Number(count) };
}
