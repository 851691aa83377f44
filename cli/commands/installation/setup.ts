import { setTimeout as sleep } from "node:timers/promises";
import { Option } from "commander";
import type { Outcome, Session } from "../../session.ts";
import { ROTATIONS } from "../../setup/installation.ts";
import type { SetupOptions } from "../../setup/setup.ts";
import { examples, parseDuration, type Register } from "../../verb.ts";

export const setup: Register = (program, act) => {
  program
    .command("setup")
    .description("make or upgrade Sluice in your Cloudflare account; run again, it changes only what differs")
    .option("--zone <domain>", "your domain at Cloudflare (default: the one of the last setup)")
    .option("--control-hostname <name>", "where control is to be (default: sluice.<zone>)")
    .option("--slot-zone <domain>", "another zone for the hosts' slots (default: the zone)")
    .option("--account <id>", "the account, when the zone is in several")
    .option("--region <region>", "where D1 and all objects are to be, such as weur (default: near here)")
    .option("--name <name>", "of the installation; its Workers, D1 and KV are called after it", "sluice")
    .option("--access", "put Cloudflare Access before the hosts' slots")
    .option("--images", "keep images in an R2 bucket, for `sluice ship --to-hosts`")
    .option("--control-token-env <variable>", "variable with a narrower API token for control")
    .addOption(new Option("--rotate <secret>", "put a new one in its place").choices(ROTATIONS))
    .option("--dry-run", "say what would be done, and do nothing")
    .addOption(waitOption())
    .option("--no-wait", "don't wait until control answers")
    .option("-y, --yes", "don't ask")
    .addHelpText(
      "before",
      examples(
        "sluice setup --zone example.com --dry-run",
        "CLOUDFLARE_API_TOKEN=… sluice setup --zone example.com",
        "sluice setup --rotate admin-token",
      ),
    )
    .action(act(run));
};

const waitOption = () =>
  new Option("--wait <duration>", "how long to wait until control answers")
    .argParser(parseDuration)
    .default(300_000, "5m");

/** Cloudflare's SDK is loaded for this verb alone: it takes longer than all the rest. */
async function run(session: Session, options: SetupOptions): Promise<Outcome> {
  const [{ setup }, { wranglerIn }] = await Promise.all([
    import("../../setup/setup.ts"),
    import("../../setup/wrangler.ts"),
  ]);
  return setup(session, options, {
    wrangler: wranglerIn,
    fetch,
    sleep: (ms, signal) => sleep(ms, undefined, { signal }),
  });
}
