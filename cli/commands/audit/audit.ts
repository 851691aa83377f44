import { collect } from "../../../src/client/index.ts";
import { EXIT } from "../../exit-codes.ts";
import { at, table } from "../../io/print.ts";
import type { Outcome, Session } from "../../session.ts";
import { examplesOfEach, parseCount, type Register } from "../../verb.ts";
import { exportLog, parseHead, verify } from "./chain.ts";

export const audit: Register = (program, act) => {
  const group = program
    .command("audit")
    .description("who did what, newest first")
    .option("--limit <n>", "how many at most", parseCount(10_000), 50)
    .addHelpText(
      "beforeAll",
      examplesOfEach("sluice audit", "sluice audit verify", "sluice audit export > audit.jsonl"),
    )
    .action(act(run));
  group
    .command("verify")
    .argument("[file]", "an export; default: the live log")
    .description("follow the log's chain of hashes; stdout is where it ends, to be kept elsewhere")
    .option("--head <id:hash>", "where it once ended: has to be in it still", parseHead)
    .action(act(verify));
  group
    .command("export")
    .description("the whole log with its hashes, oldest first, a line of JSON each")
    .action(act(exportLog));
};

async function run(session: Session, options: { limit: number }): Promise<Outcome> {
  const items = await collect((page) => session.client.installation.audit(page), options.limit);
  const rows = items.map((event) => [
    at(event.at),
    event.actor,
    [event.app, event.environment].filter((part) => part !== null).join("/") || "-",
    event.message,
  ]);
  const text = items.length > 0 ? table([["TIME", "WHO", "WHERE", "WHAT"], ...rows]) : "nothing yet";
  return { exit: EXIT.ok, json: { items }, text };
}
