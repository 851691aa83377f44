import { InvalidArgumentError } from "commander";
import { collect } from "../../src/client/index.ts";
import type { ReplayView } from "../../src/protocol/api/verdicts.ts";
import { EXIT } from "../exit-codes.ts";
import { failedRequestText } from "../failed-request.ts";
import { at, clean, plural, table } from "../io/print.ts";
import type { Outcome, Session } from "../session.ts";
import { examples, parseCount, parseDuration, type Register } from "../verb.ts";
import { meantRelease } from "./watch.ts";

interface Options {
  readonly limit: number;
  readonly replay?: boolean;
  readonly errorRateMax?: number;
  readonly p95Max?: number;
}

export const verdicts: Register = (program, act) => {
  program
    .command("verdicts")
    .argument(
      "[release]",
      "release id or version (default: the one on its way, else one just undone, else the one that serves)",
    )
    .description("what the judge said of a canary, newest first; --json has every number")
    .option("--limit <n>", "how many at most", parseCount(10_000), 20)
    .option("--replay", "judge the counts that were kept again, by the settings of today")
    .option("--error-rate-max <rate>", "with --replay: by this limit, such as 1%", parseRate)
    .option("--p95-max <duration>", "with --replay: by this limit, such as 500ms", parseDuration)
    .addHelpText(
      "before",
      examples(
        "sluice verdicts",
        "sluice verdicts rel_01J9… --limit 200 --json",
        "sluice verdicts v42 --replay --error-rate-max 1%",
      ),
    )
    .action(act(run));
};

/** `1%`, or a fraction such as 0.01. */
function parseRate(text: string): number {
  const [, digits, percent] = /^(\d+(?:\.\d+)?)(%?)$/.exec(text.trim()) ?? [];
  const rate = Number(digits) / (percent ? 100 : 1);
  if (!(rate > 0 && rate < 1)) throw new InvalidArgumentError("must be a rate such as 1%");
  return rate;
}

async function run(session: Session, id: string | undefined, options: Options): Promise<Outcome> {
  const release = await meantRelease(session, "verdicts", id);
  if (options.replay) return replay(session, release, options);
  const items = await collect((page) => session.client.releases.verdicts(release, page), options.limit);
  const rows = items.map((item) => [at(item.at), item.verdict, item.words]);
  const request = items.find(({ failedRequest }) => failedRequest !== null)?.failedRequest ?? null;
  const text =
    items.length > 0
      ? [table([["TIME", "VERDICT", "WHY"], ...rows]), ...failedRequestText(request)].join("\n")
      : `${release} was never judged: no canary, or no window is whole yet`;
  return { exit: EXIT.ok, json: { release, items }, text };
}

async function replay(
  session: Session,
  release: string,
  { errorRateMax, p95Max }: Options,
): Promise<Outcome> {
  const replayed = await session.client.releases.replay(release, { errorRateMax, p95MaxMs: p95Max });
  return { exit: EXIT.ok, json: replayed, text: replayText(replayed) };
}

const WINDOW_S = 10;

function replayText({ version, kept, windows, was, now, provenAfter }: ReplayView): string {
  const name = clean(version);
  if (!now)
    return `${name}: no counts were kept of it: it was no canary, was never judged, or is older than what is kept`;
  const proven = provenAfter === null ? "" : `, proven no worse after ${provenAfter * WINDOW_S} s`;
  const end =
    now.verdict === "rollback"
      ? `would be rolled back after ${windows * WINDOW_S} s`
      : `would not be rolled back in ${plural(kept, "window")} of ${WINDOW_S} s${proven}`;
  return [
    `${name}, judged again: ${end}`,
    `  was:  ${was ? `${was.verdict}, ${clean(was.words)}` : "nothing was said"}`,
    `  now:  ${now.verdict}, ${clean(now.words)}`,
  ].join("\n");
}
