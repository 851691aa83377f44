import type { DoraView } from "../../../src/protocol/api/figures/dora.ts";
import { EXIT } from "../../exit-codes.ts";
import { duration, percent, table } from "../../io/print.ts";
import type { Outcome, Session } from "../../session.ts";
import { examples, parseCount, type Register } from "../../verb.ts";

const MOST_DAYS = 366;

export const dora: Register = (program, act) => {
  program
    .command("dora")
    .description("how often, how fast and how well is delivered: the four keys of each environment")
    .option("--days <n>", "of the last so many days", parseCount(MOST_DAYS), 30)
    .addHelpText("before", examples("sluice dora", "sluice dora -a shop -e production --days 90 --json"))
    .action(act(run));
};

async function run(session: Session, { days }: { days: number }): Promise<Outcome> {
  const { app, env: environment } = session.globals;
  const view = await session.client.installation.dora({ app, environment, days });
  const heading = ["APP", "ENVIRONMENT", "DEPLOYMENTS", "A DAY", "LEAD TIME", "FAILED", "RESTORED IN"];
  const text = view.items.length > 0 ? table([heading, ...view.items.map(row)]) : "no apps yet";
  return { exit: EXIT.ok, json: view, text };
}

/** Of what there is none, nothing is said: a 0 would be praise. */
const row = (item: DoraView["items"][number]) => [
  item.app,
  item.environment,
  String(item.deployments),
  item.perDay.toFixed(2),
  item.leadTime ? duration(item.leadTime.medianMs) : "-",
  item.changeFailureRate === null
    ? "-"
    : `${percent(item.changeFailureRate * 100)} (${item.failures} of ${item.changes})`,
  item.timeToRestore ? duration(item.timeToRestore.medianMs) : "-",
];
