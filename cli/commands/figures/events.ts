import { collect } from "../../../src/client/index.ts";
import type { EventView } from "../../../src/protocol/api/events.ts";
import { EXIT } from "../../exit-codes.ts";
import { lookAgain } from "../../follow/look-again.ts";
import { at, clean } from "../../io/print.ts";
import { CliError } from "../../io/problem.ts";
import type { Outcome, Session } from "../../session.ts";
import { examples, parseCount, type Register } from "../../verb.ts";

/** More at once than anybody reads: what is older is in `sluice audit`. */
const MOST = 1_000;

export const events: Register = (program, act) => {
  program
    .command("events")
    .description("what happens, oldest first: of everything, or of -a and -e")
    .option("-F, --follow", "go on with what happens from now on, until Ctrl-C")
    .option("-n, --tail <n>", "so many last ones first", parseCount(MOST), 20)
    .addHelpText(
      "before",
      examples("sluice events --follow", "sluice events -a shop -e production --json=stream --follow"),
    )
    .action(act(run));
};

interface Flags {
  readonly follow?: true;
  readonly tail: number;
}

async function run(session: Session, { follow, tail }: Flags): Promise<Outcome> {
  const { out } = session;
  if (follow && out.mode === "object")
    throw new CliError("usage", "--json is one object at the end, and --follow has none: use --json=stream");
  const isWanted = filterOf(session);
  const isNarrowed = session.globals.app !== undefined || session.globals.env !== undefined;
  const first = await newest(session, 0, isNarrowed ? MOST : tail);
  const shown = first.filter(isWanted).slice(0, tail).reverse();
  for (const event of shown) show(session, event);
  let last = first[0]?.id ?? 0;
  const look = async () => {
    const fresh = await newest(session, last);
    last = fresh[0]?.id ?? last;
    for (const event of fresh.filter(isWanted).reverse()) show(session, event);
  };
  if (follow) await lookAgain(session, { look, lost: (why) => out.say(`${why}, nothing is missed`) });
  return { exit: EXIT.ok, json: out.mode === "object" ? { items: shown } : {} };
}

/** Only what was named by hand: a manifest nearby does not narrow a look at everything. */
function filterOf({ globals }: Session): (event: EventView) => boolean {
  const { app, env } = globals;
  return (event) =>
    (app === undefined || event.app === app) && (env === undefined || event.environment === env);
}

/** Newest first, down to the one that is known already. */
async function newest({ client }: Session, known: number, most = MOST): Promise<EventView[]> {
  const items = await collect(async (page) => {
    const found = await client.installation.audit(page);
    return found.items.some(({ id }) => id <= known) ? { ...found, nextCursor: null } : found;
  }, most);
  return items.filter(({ id }) => id > known);
}

function show({ out }: Session, event: EventView): void {
  if (out.mode === "stream") return out.line({ ...event });
  if (out.mode === "object") return;
  const where = [event.app, event.environment].filter((part) => part !== null).join("/") || "-";
  const time = at(event.at);
  const tone = event.type.endsWith("alert") ? "yellow" : "dim";
  const { stdoutPaint } = out;
  out.print(
    `${stdoutPaint(tone, time)}  ${clean(where)}  ${clean(event.message)}  ${stdoutPaint("dim", clean(event.actor))}`,
  );
}
