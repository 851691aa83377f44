import { collect } from "../../src/client/index.ts";
import { EXIT } from "../exit-codes.ts";
import { table } from "../io/print.ts";
import type { Outcome, Session } from "../session.ts";
import { examples, parseCount, type Register } from "../verb.ts";
import { meantRelease } from "./watch.ts";

export const verdicts: Register = (program, act) => {
  program
    .command("verdicts")
    .argument("[release]", "release id or version (default: the one on its way, else the one that serves)")
    .description("what the judge said of a canary, newest first; --json has every number")
    .option("--limit <n>", "how many at most", parseCount(10_000), 20)
    .addHelpText("before", examples("sluice verdicts", "sluice verdicts rel_01J9… --limit 200 --json"))
    .action(act(run));
};

async function run(session: Session, id: string | undefined, options: { limit: number }): Promise<Outcome> {
  const release = await meantRelease(session, "verdicts", id);
  const items = await collect((page) => session.client.releases.verdicts(release, page), options.limit);
  const rows = items.map(({ at, verdict, words }) => [at.replace(/\.\d+Z$/, "Z"), verdict, words]);
  const text =
    items.length > 0
      ? table([["TIME", "VERDICT", "WHY"], ...rows])
      : `${release} was never judged: no canary, or no window is whole yet`;
  return { exit: EXIT.ok, json: { release, items }, text };
}
