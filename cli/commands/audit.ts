import { collect } from "../../src/client/index.ts";
import { EXIT } from "../exit-codes.ts";
import { table } from "../io/print.ts";
import type { Outcome, Session } from "../session.ts";
import { examples, parseCount, type Register } from "../verb.ts";

export const audit: Register = (program, act) => {
  program
    .command("audit")
    .description("who did what, newest first")
    .option("--limit <n>", "how many at most", parseCount(10_000), 50)
    .addHelpText("before", examples("sluice audit", "sluice audit --limit 1000 --json"))
    .action(act(run));
};

async function run(session: Session, options: { limit: number }): Promise<Outcome> {
  const items = await collect((page) => session.client.installation.audit(page), options.limit);
  const rows = items.map((event) => [
    event.at.replace(/\.\d+Z$/, "Z"),
    event.actor,
    [event.app, event.environment].filter((part) => part !== null).join("/") || "-",
    event.message,
  ]);
  const text = items.length > 0 ? table([["TIME", "WHO", "WHERE", "WHAT"], ...rows]) : "nothing yet";
  return { exit: EXIT.ok, json: { items }, text };
}
