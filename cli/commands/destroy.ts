import { setTimeout as sleep } from "node:timers/promises";
import { ApiError } from "../../src/client/index.ts";
import type { EndingView } from "../../src/protocol/api/endings.ts";
import { EXIT } from "../exit-codes.ts";
import { confirmTyping } from "../io/confirm.ts";
import { clean, quote } from "../io/print.ts";
import { CliError } from "../io/problem.ts";
import type { Outcome, Session } from "../session.ts";
import { examples, parseDuration, type Register } from "../verb.ts";

interface DestroyOptions {
  readonly all?: boolean;
  /** The name of what is to go. */
  readonly yes?: string;
  readonly wait: boolean;
  readonly timeout: number;
}

const LOOK_MS = 2_000;

export const destroy: Register = (program, act) => {
  program
    .command("destroy")
    .description(
      "end an environment, or a whole app, and everything in it but its data volumes and the audit log",
    )
    .option("--all", "the app with all of its environments")
    .option(
      "-y, --yes <name>",
      "don't ask; the name as it would be typed, e.g. shop/staging, or shop with --all",
    )
    .option("--no-wait", "return when it has begun; it ends by itself")
    .option("--timeout <duration>", "stop waiting after this long (it goes on)", parseDuration, 1_800_000)
    .addHelpText(
      "before",
      examples(
        "sluice destroy -a shop -e staging",
        "sluice destroy -a shop -e pr-7 --yes shop/pr-7",
        "sluice destroy -a shop --all --yes shop",
      ),
    )
    .action(act(run));
};

async function run(session: Session, options: DestroyOptions): Promise<Outcome> {
  const target = session.target();
  const at = options.all ? { app: target.app } : target;
  const name = options.all ? target.app : `${target.app}/${target.environment}`;
  if (options.yes !== undefined && options.yes !== name)
    throw new CliError("usage", `--yes ${options.yes} does not name what would go: it is ${name}`);
  const question = `Destroy ${clean(name)}: its containers, secrets, hostnames and tokens?`;
  const flag = `--yes ${quote(name)}`;
  await confirmTyping(session, { question, word: name, yes: options.yes !== undefined, flag });
  const ending = await unlessGone(session.client.apps.destroy(at));
  if (!ending) return gone(session, name);
  session.out.say(`${clean(name)} is on its way out${waits(ending)}`);
  for (const volume of ending.keeps) session.out.say(`stays: the volume ${clean(volume)}`);
  if (!options.wait) return { exit: EXIT.ok, json: ending };
  return follow(session, { at, name, ending, until: session.now() + options.timeout });
}

interface Followed {
  readonly at: { app: string; environment?: string };
  readonly name: string;
  readonly ending: EndingView;
  /** Epoch ms. */
  readonly until: number;
}

/** Until it is gone, or for so long. Ctrl-C leaves it to itself: nothing is undone. */
async function follow(session: Session, { at, name, ending, until }: Followed): Promise<Outcome> {
  let said = waits(ending);
  for (;;) {
    if (session.now() >= until) {
      session.out.say(
        `${clean(name)} is not gone yet${said}; it goes on by itself, and this command said again tells how far`,
      );
      return { exit: EXIT.noAnswer, json: { ...ending, gone: false } };
    }
    await sleep(LOOK_MS, undefined, { signal: session.signal });
    const now = await unlessGone(session.client.apps.destroy(at));
    if (!now) {
      session.out.say(`${clean(name)} is gone`);
      return { exit: EXIT.ok, json: { ...ending, waitsFor: [], gone: true } };
    }
    if (waits(now) !== said)
      session.out.say(`${clean(name)}${waits(now) || ": nothing is left, it goes any moment"}`);
    said = waits(now);
  }
}

const waits = ({ waitsFor }: EndingView): string =>
  waitsFor.length > 0 ? `; it waits for ${waitsFor.map(clean).join(", ")}` : "";

function gone(session: Session, name: string): Outcome {
  session.out.say(`${clean(name)} is not there (any more): nothing to destroy`);
  return { exit: EXIT.ok, json: { destroyed: name, gone: true } };
}

async function unlessGone(asked: Promise<EndingView>): Promise<EndingView | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof ApiError && error.problem.code === "not_found") return undefined;
    throw error;
  }
}
