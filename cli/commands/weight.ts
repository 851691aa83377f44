import { isProblem } from "../../src/client/index.ts";
import type { EnvironmentView } from "../../src/protocol/api/environments.ts";
import type { Weights } from "../../src/protocol/api/moves.ts";
import { EXIT } from "../exit-codes.ts";
import { splitText } from "../follow/release-end.ts";
import { clean, percent } from "../io/print.ts";
import { CliError } from "../io/problem.ts";
import type { Outcome, Session } from "../session.ts";
import { examples, type Register } from "../verb.ts";

const ATTEMPTS = 3;

export const weight: Register = (program, act) => {
  program
    .command("weight")
    .argument("<weights...>", "25 (the release on its way), or v43=25, or the whole split: v43=25 v42=75")
    .description("set by hand what share of the traffic each release gets")
    .addHelpText(
      "before",
      examples("sluice weight 25", "sluice weight v43=25", "sluice weight v43=0 v42=100 -e staging"),
    )
    .action(act(run));
};

async function run(session: Session, given: string[]): Promise<Outcome> {
  const target = session.target();
  const { client } = session;
  const asked = given.map(parsePart);
  let before = await client.environments.get(target.app, target.environment);
  const seen = splitKey(before.environment);
  for (let attempt = 1; ; attempt++) {
    const weights = wholeSplit(before.environment, asked);
    try {
      const after = await client.environments.setWeights({ ...target, ifMatch: before.etag }, weights);
      return told(session, before.environment, after);
    } catch (error) {
      if (!isProblem(error, "precondition_failed") || attempt === ATTEMPTS) throw error;
      before = await client.environments.get(target.app, target.environment);
      // Something moved, a health report perhaps. Only if the split is still what the person saw does the order stand.
      if (splitKey(before.environment) !== seen)
        throw new CliError(
          "state_changed",
          `the split is now: ${splitText(before.environment)}; nothing was set`,
          {
            title: "the traffic moved meanwhile",
            next: [{ command: session.command("status", target), when: "to look again" }],
          },
        );
    }
  }
}

function told(session: Session, before: EnvironmentView, after: EnvironmentView): Outcome {
  session.out.say(`${after.app}/${after.environment}`);
  session.out.say(`  before  ${splitText(before)}`);
  session.out.say(`  now     ${splitText(after)}`);
  return { exit: EXIT.ok, json: { command: "weight", before: before.split, traffic: after.split } };
}

const splitKey = (environment: EnvironmentView) =>
  JSON.stringify(environment.split.map((entry) => [entry.release, entry.weight]).sort());

interface Asked {
  /** Undefined: the release on its way. */
  readonly release: string | undefined;
  readonly weight: number;
}

function parsePart(text: string): Asked {
  const [, release, number] = /^(?:([^=\s]+)=)?(\d{1,3}(?:\.\d{1,2})?)%?$/.exec(text) ?? [];
  const value = Number(number);
  if (number !== undefined && value <= 100) return { release, weight: value };
  throw new CliError(
    "usage",
    `\`${text}\` is not a weight: give 0 to 100 with at most two decimals, or <release>=<weight>`,
  );
}

/** The whole table the API wants, from as little as was said. What is ambiguous is refused, with the words to say it. */
export function wholeSplit(environment: EnvironmentView, asked: readonly Asked[]): Weights {
  const named = asked.map(({ release, weight }) => [nameOf(environment, release), weight] as const);
  const weights: Weights = Object.fromEntries(named);
  if (named.length !== Object.keys(weights).length) throw new CliError("usage", "a release is named twice");
  const sum = round(named.reduce((total, [, share]) => total + share, 0));
  if (sum > 100) throw new CliError("weights_invalid", `the weights sum to ${percent(sum)}, more than 100%`);
  const others = candidates(environment).filter((entry) => !(entry.release in weights));
  if (sum === 100) return { ...weights, ...Object.fromEntries(others.map((entry) => [entry.release, 0])) };
  return { ...weights, ...rest(others, round(100 - sum)) };
}

function nameOf(environment: EnvironmentView, release: string | undefined): string {
  if (release === undefined) {
    if (environment.active) return environment.active.id;
    throw new CliError("usage", "no release is on its way: say which one gets the weight", {
      title: "which release?",
      next: candidates(environment).map((entry) => ({
        command: `sluice weight ${entry.version}=<weight>`,
        when: `${entry.version} has ${percent(entry.weight)} now`,
      })),
    });
  }
  const all = candidates(environment);
  const found = all.find((entry) => entry.release === release || entry.version === release);
  if (found) return found.release;
  const known = all.map((entry) => clean(entry.version)).join(", ") || "none";
  throw new CliError(
    "release_not_serving",
    `\`${clean(release)}\` has no ready instance; these have: ${known}`,
  );
}

type Entry = Pick<EnvironmentView["split"][number], "release" | "version" | "weight">;

/** Who can have traffic: those that have some, and those that are kept warm or just got ready. */
function candidates(environment: EnvironmentView): Entry[] {
  const serving: Entry[] = environment.split;
  const ready = environment.instances.filter(
    (instance) => instance.ready && !serving.some((entry) => entry.release === instance.release),
  );
  const warm = new Map(ready.map(({ release, version }) => [release, { release, version, weight: 0 }]));
  return [...serving, ...warm.values()];
}

/** What is left goes to the other one, or is shared as it was among several. */
function rest(others: readonly Entry[], left: number): Weights {
  const serving = others.length === 1 ? others : others.filter((entry) => entry.weight > 0);
  if (serving.length === 0)
    throw new CliError(
      "weights_invalid",
      `${percent(left)} of the traffic would go nowhere: name the release that gets it`,
    );
  const total = serving.reduce((sum, entry) => sum + entry.weight, 0);
  const shares = serving.map((entry) =>
    round(serving.length === 1 ? left : Math.floor((left * entry.weight * 100) / total) / 100),
  );
  const first = round((shares[0] ?? 0) + left - shares.reduce((sum, share) => sum + share, 0));
  const zeros = others.filter((entry) => !serving.includes(entry)).map((entry) => [entry.release, 0]);
  const named = serving.map((entry, i) => [entry.release, i === 0 ? first : (shares[i] ?? 0)]);
  return Object.fromEntries([...named, ...zeros]);
}

const round = (value: number) => Math.round(value * 100) / 100;
