import { MOVES, type MovePlanView, type PlanView, type PriceView } from "../../src/protocol/api/plans.ts";
import { EXIT } from "../exit-codes.ts";
import { accessoryRows } from "../io/accessory-text.ts";
import { clean, duration, facts, percent, plural } from "../io/print.ts";
import { CliError } from "../io/problem.ts";
import type { Outcome, Session, Target } from "../session.ts";
import { examples, type Register } from "../verb.ts";
import { holdOption, overrideOption, type ReleaseOptions, releaseBody, whenBusyOption } from "./deploy.ts";

export const plan: Register = (program, act) => {
  program
    .command("plan")
    .argument("[move]", `what would be done: deploy, ${MOVES.join(", ")} (default: deploy)`)
    .description(
      "what a deploy, promote, abort or rollback would do now, without doing it; exits 2 if it can't be",
    )
    .option("--image <ref>", "what would be released (default: the manifest's image)")
    .option("--version <label>", "its label")
    .addOption(whenBusyOption())
    .addOption(holdOption())
    .addOption(overrideOption())
    .addHelpText(
      "before",
      examples("sluice plan --image ghcr.io/acme/shop:1.4.2", "sluice plan rollback", "sluice plan --json"),
    )
    .action(act(run));
};

async function run(session: Session, asked: string | undefined, options: ReleaseOptions): Promise<Outcome> {
  const move = MOVES.find((one) => one === asked);
  if (move) return runMove(session, move);
  if (asked !== undefined && asked !== "deploy") {
    const detail = `there is no move \`${clean(asked)}\`: plan ${["deploy", ...MOVES].join(", ")}`;
    throw new CliError("usage", detail);
  }
  const target = session.target();
  const body = await releaseBody(session, options);
  const answer = await session.client.releases.plan(target.app, target.environment, body);
  const exit = answer.problems.length > 0 ? EXIT.refused : EXIT.ok;
  return {
    exit,
    json: { command: "plan", exitCode: exit, plan: answer },
    text: planText(answer, target, body.image),
  };
}

async function runMove(session: Session, move: MovePlanView["move"]): Promise<Outcome> {
  const target = session.target();
  const answer = await session.client.environments.planMove(target.app, target.environment, move);
  const exit = answer.possible ? EXIT.ok : EXIT.refused;
  return { exit, json: { command: "plan", exitCode: exit, plan: answer }, text: moveText(answer, target) };
}

/** What a move would do, in the feed's words, and who has the traffic then. */
function moveText({ move, refusal, says, split, price }: MovePlanView, { app, environment }: Target): string {
  const head = `${app}/${environment}: ${move}`;
  if (refusal) return [head, `  ✖ ${clean(refusal.code)}: ${clean(refusal.detail)}`].join("\n");
  const after = split.map(({ version, weight }) => `${clean(version)} ${percent(weight)}`).join(", ");
  const rows = facts([["traffic", after || "nobody"], ...(price ? priceRows(price) : [])]);
  return [head, ...says.map((line) => `  ${clean(line)}`), ...rows].join("\n");
}

const keeps = (version: string, keepMs: number) =>
  keepMs > 0 ? `${clean(version)} warm for ${duration(keepMs)}` : `nothing of ${clean(version)}`;

/** A plan as text. `image`: one that was named, which control knows by its name alone. */
export function planText(plan: PlanView, target: Target, image?: string): string {
  const perHost = Map.groupBy(plan.instances, (instance) => instance.host);
  const hosts = [...perHost].map(
    ([host, list]) => `${clean(host)} (slot ${list.map((i) => i.slot).join(", ")})`,
  );
  const rows: [string, string | undefined][] = [
    [
      "image",
      image === undefined ? undefined : `${clean(image)}, which its hosts look for when it is released`,
    ],
    ["replaces", plan.replaces ? clean(plan.replaces.version) : "nothing: it is the first"],
    [
      "instances",
      `${plural(plan.instances.length, "instance")}${hosts.length > 0 ? `: ${hosts.join(", ")}` : ""}`,
    ],
    ["traffic", trafficText(plan)],
    ["takes", takesText(plan)],
    ...plan.hooks.map((hook): [string, string] => [
      hook.hook,
      `${clean(hook.command.join(" "))}  (${clean(hook.when)})`,
    ]),
    ["keeps", plan.replaces ? keeps(plan.replaces.version, plan.keepMs) : undefined],
    ["rollback", clean(plan.rollback)],
  ];
  if (plan.load) rows.push(["load", clean(plan.load)]);
  const price = plan.price ? priceRows(plan.price) : [];
  const problems = plan.problems.map((problem) => `  ✖ ${problem.code}: ${clean(problem.detail)}`);
  const head = `${target.app}/${target.environment}`;
  return [
    head,
    ...facts([...rows, ...price]),
    ...accessoryRows(plan.accessories),
    ...(problems.length > 0 ? ["in the way:", ...problems] : []),
  ].join("\n");
}

/** What a bad release would cost, fault by fault. */
function priceRows({ traffic, faults, says }: PriceView): [string, string][] {
  const head = `by ${Number(traffic.rate.toPrecision(2))} requests a second, ${percent(traffic.errorRate * 100)} of them errors (the last ${duration(traffic.overMs)})`;
  const rest = [...faults.map(({ words }) => words), ...says]
    .map(clean)
    .map((line): [string, string] => ["", line]);
  return [["price", head], ...rest];
}

/** One step is said in a word; a canary's are a list. */
function trafficText({ steps }: PlanView): string {
  if (steps.length === 0) return "follows the instances, as new ones serve and old ones leave";
  const [only] = steps;
  if (steps.length === 1 && only?.label === "100 %") return `0% → ${percent(only.weight ?? 0)}`;
  const [first = "", ...rest] = steps.map((step, i) => `${i + 1}. ${clean(step.label)}`);
  return [first, ...rest.map((line) => `${" ".repeat(13)}${line}`)].join("\n");
}

function takesText({ atLeastMs, steps }: PlanView): string | undefined {
  if (atLeastMs === null) return "until somebody promotes it";
  return atLeastMs > 0 || steps.length > 1
    ? `at least ${duration(atLeastMs)}, image pull and start apart`
    : undefined;
}
