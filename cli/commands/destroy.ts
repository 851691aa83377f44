import { setTimeout as sleep } from "node:timers/promises";
import { ApiError, ConnectionError } from "../../src/client/index.ts";
import type { EndingView } from "../../src/protocol/api/endings.ts";
import { EXIT } from "../exit-codes.ts";
import { confirmTyping } from "../io/confirm.ts";
import { clean, quote } from "../io/print.ts";
import { CliError } from "../io/problem.ts";
import type { Outcome, Session } from "../session.ts";
import { examples, type Register, timeoutOption } from "../verb.ts";

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
    .addOption(timeoutOption("30m", "it"))
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
    if (session.now() >= until) return goesOn(session, { name, ending, why: `is not gone yet${said}` });
    await sleep(LOOK_MS, undefined, { signal: session.signal });
    const looked = await look(session, at);
    if (looked instanceof ConnectionError) {
      const why = `was on its way out when contact was lost (${looked.message})`;
      return goesOn(session, { name, ending, why });
    }
    if (!looked) {
      session.out.say(`${clean(name)} is gone`);
      return { exit: EXIT.ok, json: { ...ending, waitsFor: [], gone: true } };
    }
    if (waits(looked) !== said)
      session.out.say(`${clean(name)}${waits(looked) || ": nothing is left, it goes any moment"}`);
    said = waits(looked);
  }
}

const look = (session: Session, at: Followed["at"]): Promise<EndingView | ConnectionError | undefined> =>
  unlessGone(session.client.apps.destroy(at)).catch((error: unknown) => {
    if (error instanceof ConnectionError) return error;
    throw error;
  });

/** Nobody waits any more, and control ends it all the same: also one that starts again meanwhile. */
function goesOn(
  session: Session,
  { name, ending, why }: { name: string; ending: EndingView; why: string },
): Outcome {
  const whole = ending.environment === null ? " --all" : ` -e ${quote(ending.environment)}`;
  const command = `sluice destroy -a ${quote(ending.app)}${whole} --yes ${quote(name)}`;
  const next = [{ command, when: "to see how far it is" }];
  session.out.say(`${clean(name)} ${clean(why)}; it goes on by itself.\n  look  ${command}`);
  return { exit: EXIT.noAnswer, json: { ...ending, gone: false, next } };
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
