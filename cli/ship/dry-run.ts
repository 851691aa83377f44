import { ApiError, ConnectionError, isProblem } from "../../src/client/index.ts";
import type { PlanView } from "../../src/protocol/api/plans.ts";
import { releaseBody } from "../commands/deploy.ts";
import { planText } from "../commands/plan.ts";
import { EXIT } from "../exit-codes.ts";
import { clean, facts, plural, quote } from "../io/print.ts";
import type { Outcome, Session } from "../session.ts";
import { layersOf } from "./hosts/to-hosts.ts";
import { buildCommand, pushCommand } from "./image.ts";
import type { ShipOptions } from "./sail.ts";
import type { Command } from "./tool.ts";
import type { Voyage } from "./voyage.ts";

const words = (command: Command | readonly string[]) => command.map(quote).join(" ");

/** What a ship would do. Asks git and control; runs nothing, changes nothing. 2 if something is in the way. */
export async function dryRun(session: Session, voyage: Voyage, options: ShipOptions): Promise<Outcome> {
  const { plan, requires, target, unmet, environment } = voyage;
  const commands = { build: buildCommand(plan), push: pushCommand(plan) };
  const answer = await askControl(session, voyage, options);
  const pushing = plan.toHosts ? await whatIsSent(session, voyage) : words(commands.push);
  const wants = [
    requires.branch === undefined ? undefined : `branch ${[requires.branch].flat().join(" or ")}`,
    requires.cleanTree ? "a clean tree" : undefined,
    requires.upToDate ? "the remote's commit" : undefined,
    requires.test ? `\`${words(requires.test)}\`, not run now` : undefined,
  ].filter((part) => part !== undefined);
  const looks = [
    ...target.manifest.manifest.smoke.map(({ path, status }) => `GET ${path} ${status}`),
    ...(environment.smokeTest ? [words(environment.smokeTest)] : []),
  ];
  const text = [
    `${target.app}/${target.environment}: what a ship would do`,
    ...facts([
      ["requires", clean(wants.join("; ") || "nothing")],
      ["build", clean(words(commands.build))],
      ["push", clean(pushing)],
      [
        "release",
        options.apply
          ? `applies ${target.manifest.path}, and releases the digest that the push names`
          : "releases the digest that the push names",
      ],
      ["smoke", clean(looks.join("; ") || "nothing")],
    ]),
    ...unmet.map(({ key, detail }) => `  ✖ requires.${key}: ${detail}`),
    typeof answer === "string" ? `  ${answer}` : planText(answer, target),
  ].join("\n");
  const problems = typeof answer === "string" ? [] : answer.problems;
  const exit = unmet.length + problems.length > 0 ? EXIT.refused : EXIT.ok;
  const json = {
    command: "ship",
    dryRun: true,
    exitCode: exit,
    image: plan.reference,
    commands,
    unmet,
    plan: typeof answer === "string" ? null : answer,
  };
  return { exit, json, text };
}

/** Asks control which layers of the image it has, where an earlier run has built it. */
async function whatIsSent(session: Session, { plan, target, tools }: Voyage): Promise<string> {
  const to = "to control, for hosts to fetch";
  const diffIds = await layersOf(plan.reference, tools);
  if (!diffIds) return `what control lacks of the image, ${to}`;
  try {
    const { layers } = await session.client.images.known(target, { layers: diffIds });
    const missing = diffIds.filter((one) => !layers.some(({ diffId }) => diffId === one)).length;
    return `${missing} of ${plural(diffIds.length, "layer")} ${to}; the others are there`;
  } catch (error) {
    if (isProblem(error, "not_found")) return `all of ${plural(diffIds.length, "layer")}, ${to}`;
    if (error instanceof ApiError || error instanceof ConnectionError)
      return `what control lacks of the image, ${to} (not asked: ${error.message})`;
    throw error;
  }
}

async function askControl(
  session: Session,
  { target, plan }: Voyage,
  options: ShipOptions,
): Promise<PlanView | string> {
  try {
    const body = await releaseBody(session, { ...options, image: plan.reference });
    return await session.client.releases.plan(target.app, target.environment, body);
  } catch (error) {
    if (isProblem(error, "not_found"))
      return `control doesn't know ${target.app}/${target.environment} yet: it would be made`;
    if (error instanceof ApiError || error instanceof ConnectionError)
      return `control was not asked: ${clean(error.message)}`;
    throw error;
  }
}
