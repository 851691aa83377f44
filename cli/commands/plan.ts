import type { PlanView } from "../../src/protocol/api.ts";
import { EXIT } from "../exit-codes.ts";
import { clean, duration, facts, percent, plural } from "../print.ts";
import type { Outcome, Session, Target } from "../session.ts";
import { type ReleaseOptions, releaseBody, whenBusyOption } from "./deploy.ts";
import { examples, type Register } from "./verb.ts";

export const plan: Register = (program, act) => {
  program
    .command("plan")
    .description("what a deploy would do, without doing it; exits 2 if it would be refused")
    .option("--image <ref>", "what would be released (default: the manifest's image)")
    .option("--version <label>", "its label")
    .addOption(whenBusyOption())
    .addHelpText("before", examples("sluice plan --image ghcr.io/acme/shop:1.4.2", "sluice plan --json"))
    .action(act(run));
};

async function run(session: Session, options: ReleaseOptions): Promise<Outcome> {
  const target = session.target();
  const body = await releaseBody(session, options);
  const answer = await session.client.planRelease(target.app, target.environment, body);
  const exit = answer.problems.length > 0 ? EXIT.refused : EXIT.ok;
  return { exit, json: { command: "plan", exitCode: exit, plan: answer }, text: planText(answer, target) };
}

const keeps = (version: string, keepMs: number) =>
  keepMs > 0 ? `${clean(version)} warm for ${duration(keepMs)}` : `nothing of ${clean(version)}`;

/** A plan as text. */
function planText(plan: PlanView, target: Target): string {
  const perHost = Map.groupBy(plan.instances, (instance) => instance.host);
  const hosts = [...perHost].map(
    ([host, list]) => `${clean(host)} (slot ${list.map((i) => i.slot).join(", ")})`,
  );
  const steps = plan.steps.map((step) => percent(step.weight)).join(" → ");
  const rows: [string, string | undefined][] = [
    ["replaces", plan.replaces ? clean(plan.replaces.version) : "nothing: it is the first"],
    [
      "instances",
      `${plural(plan.instances.length, "instance")}${hosts.length > 0 ? `: ${hosts.join(", ")}` : ""}`,
    ],
    ["traffic", `0% → ${steps}`],
    ["keeps", plan.replaces ? keeps(plan.replaces.version, plan.keepMs) : undefined],
    ["rollback", clean(plan.rollback)],
  ];
  const problems = plan.problems.map((problem) => `  ✖ ${problem.code}: ${clean(problem.detail)}`);
  const head = `${target.app}/${target.environment}`;
  return [head, ...facts(rows), ...(problems.length > 0 ? ["it would be refused:", ...problems] : [])].join(
    "\n",
  );
}
