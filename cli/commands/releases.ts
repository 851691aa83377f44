import { collect } from "../../src/client/index.ts";
import type { ReleaseView } from "../../src/protocol/api/releases.ts";
import { EXIT } from "../exit-codes.ts";
import { ago, inWords, percent, table } from "../io/print.ts";
import type { Outcome, Session } from "../session.ts";
import { examples, parseCount, type Register } from "../verb.ts";

export const releases: Register = (program, act) => {
  program
    .command("releases")
    .description("the releases of an environment, newest first")
    .option("--limit <n>", "how many at most", parseCount(10_000), 20)
    .addHelpText("before", examples("sluice releases", "sluice releases -e staging --limit 5 --json"))
    .action(act(run));
};

async function run(session: Session, options: { limit: number }): Promise<Outcome> {
  const { app, environment } = session.target();
  const items = await collect((page) => session.client.releases.list(app, environment, page), options.limit);
  const rows = items.map((release) => row(release, session.now()));
  const heading = ["VERSION", "STATE", "TRAFFIC", "KIND", "BY", "CREATED", "FAILED", "ID", "IMAGE"];
  const text = items.length > 0 ? table([heading, ...rows]) : `no releases yet in ${app}/${environment}`;
  return { exit: EXIT.ok, json: { items }, text };
}

const row = (release: ReleaseView, now: number) => [
  release.version,
  inWords(release.state),
  percent(release.weight),
  release.kind,
  release.by,
  ago(release.createdAt, now),
  `${release.traffic.failed}/${release.traffic.requests}`,
  release.id,
  release.image,
];
