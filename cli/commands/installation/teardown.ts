import { setTimeout as sleep } from "node:timers/promises";
import type { Outcome, Session } from "../../session.ts";
import type { TeardownOptions } from "../../setup/teardown.ts";
import { examples, type Register } from "../../verb.ts";

export const teardown: Register = (program, act) => {
  program
    .command("teardown")
    .description("remove what setup made in your Cloudflare account, and nothing else")
    .option("--name <name>", "of the installation (default: sluice)")
    .option("--zone <domain>", "its domain, when this machine has no record of it")
    .option("--account <id>", "the account, when the zone is in several")
    .option("--delete-data", "remove the D1 database, too")
    .option("--export <file>", "copy the D1 database into a file before")
    .option("--force", "although control can't be asked what is in use")
    .option("--dry-run", "say what would be removed, and remove nothing")
    .option("-y, --yes", "don't ask; needs --name")
    .addHelpText(
      "before",
      examples(
        "sluice teardown --dry-run",
        "sluice teardown --export sluice.sql --delete-data",
        "sluice teardown --yes --name sluice",
      ),
    )
    .action(act(run));
};

/** Cloudflare's SDK is loaded for this verb and setup alone: it takes longer than all the rest. */
async function run(session: Session, options: TeardownOptions): Promise<Outcome> {
  const [{ teardown }, { wranglerIn }] = await Promise.all([
    import("../../setup/teardown.ts"),
    import("../../setup/wrangler.ts"),
  ]);
  return teardown(session, options, {
    wrangler: wranglerIn,
    fetch,
    sleep: (ms, signal) => sleep(ms, undefined, { signal }),
  });
}
