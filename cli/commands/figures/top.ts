import type { VisitsView } from "../../../src/protocol/api/figures/visits.ts";
import { EXIT } from "../../exit-codes.ts";
import { lookAgain } from "../../follow/look-again.ts";
import { clean, percent, table } from "../../io/print.ts";
import { Screen } from "../../io/screen.ts";
import type { Outcome, Session } from "../../session.ts";
import { examples, type Register } from "../../verb.ts";

export const top: Register = (program, act) => {
  program
    .command("top")
    .description("requests, errors and latency of the last minute, by release and instance")
    .option("--once", "once, and not again and again as on a terminal")
    .addHelpText("before", examples("sluice top", "sluice top -a shop -e production --json"))
    .action(act(run));
};

async function run(session: Session, { once }: { once?: true }): Promise<Outcome> {
  const { out } = session;
  const target = session.target();
  const look = () => session.client.environments.visits(target.app, target.environment);
  if (once || out.mode === "object" || !out.redrawsAnswer) {
    const view = await look();
    return { exit: EXIT.ok, json: view, text: textOf(view) };
  }
  const screen = new Screen(out);
  let text = "";
  const show = async () => {
    text = textOf(await look());
    screen.show(text, true);
  };
  await show();
  await lookAgain(session, { look: show, lost: (why) => screen.show(`${text}\n! ${clean(why)}`, true) });
  return { exit: EXIT.ok, json: {} };
}

type Figures = Pick<
  VisitsView["releases"][number],
  "perSecond" | "requests" | "errors" | "errorRate" | "p50Ms" | "p95Ms"
>;
const HEADINGS = ["REQUESTS/S", "ERRORS", "P50", "P95"];

function textOf({ releases, instances, to }: VisitsView): string {
  const byRelease = releases.map((one) => [clean(one.version), percent(one.weight), ...cells(one)]);
  const byInstance = instances.map((one) => [
    clean(`${one.version} on ${one.host} slot ${one.slot}`),
    "",
    ...cells(one),
  ]);
  const rows = table([
    ["RELEASE", "WEIGHT", ...HEADINGS],
    ...byRelease,
    ["INSTANCE", "", ...HEADINGS],
    ...byInstance,
  ]);
  return `the minute until ${to.slice(11, 19)} UTC, as the edge counted it\n${rows}`;
}

const cells = ({ perSecond, requests, errors, errorRate, p50Ms, p95Ms }: Figures): string[] => [
  requests === 0 ? "-" : perSecond < 10 ? perSecond.toFixed(1) : String(Math.round(perSecond)),
  errorRate === null ? "-" : errors === 0 ? "0" : `${errors} (${percent(errorRate * 100)})`,
  p50Ms === null ? "-" : `${p50Ms} ms`,
  p95Ms === null ? "-" : `${p95Ms} ms`,
];
