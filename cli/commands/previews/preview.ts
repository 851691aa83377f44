import { Option } from "commander";
import { EXIT } from "../../exit-codes.ts";
import { clean, facts, quote, until } from "../../io/print.ts";
import type { Outcome, Session } from "../../session.ts";
import { examplesOfEach, parseDuration, type Register, urlFromHere } from "../../verb.ts";
import { meantRelease } from "../watch.ts";
import { pullVerbs } from "./pulls.ts";

interface PreviewOptions {
  readonly expires: number;
  readonly hostname?: string;
}

export const preview: Register = (program, act) => {
  const command = program
    .command("preview")
    .argument("[release]", "release id or version (default: the one on its way, else the one that serves)")
    .description(
      "a signed pass that leads to one release at any weight, 0 % too, as the header to send; and previews of pull requests",
    )
    .addOption(
      new Option("--expires <duration>", "how long the pass is good for, at most 7d")
        .argParser(parseDuration)
        .default(3_600_000, "1h"),
    )
    .option("--hostname <name>", "a pass is good for one hostname (default: the environment's first)")
    .addHelpText(
      "beforeAll",
      examplesOfEach(
        "sluice preview",
        'curl -H "$(sluice preview)" https://shop.example.com/',
        "sluice preview up --pr 12 --image ghcr.io/acme/shop:pr-12",
        "sluice preview down --pr 12",
        "sluice preview list",
      ),
    )
    .action(act(run));
  pullVerbs(command, act);
};

async function run(session: Session, id: string | undefined, options: PreviewOptions): Promise<Outcome> {
  const { expires, hostname } = options;
  const release = await meantRelease(session, "preview", id);
  const pass = await session.client.releases.createPreview(release, {
    expiresInMinutes: Math.max(1, Math.ceil(expires / 60_000)),
    ...(hostname === undefined ? {} : { hostname }),
  });
  const url = urlFromHere(session, pass.url);
  const header = `${pass.header.name}: ${pass.header.value}`;
  const lines = facts([
    ["curl", `curl -H ${quote(header)} ${url}/`],
    ["cookie", clean(pass.cookie)],
    ["ends", until(pass.expiresAt, session.now())],
  ]);
  session.out.say([`a pass to ${clean(pass.release)}; whoever has it gets in:`, ...lines].join("\n"));
  // On a terminal the line above has it.
  const text = session.out.stdoutIsTty ? undefined : header;
  return { exit: EXIT.ok, json: { command: "preview", exitCode: EXIT.ok, ...pass, url }, text, secret: true };
}
