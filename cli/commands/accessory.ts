import type { Command } from "commander";
import type { AccessoryView } from "../../src/protocol/api/accessories.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { type AccessoryEnd, followAccessory } from "../follow/accessory.ts";
import { hostText, noteOf, stateText } from "../io/accessory-text.ts";
import { confirm } from "../io/confirm.ts";
import { clean, table } from "../io/print.ts";
import type { Outcome, Session } from "../session.ts";
import { type Act, examplesOfEach, type Register, timeoutOption } from "../verb.ts";

type Action = "start" | "stop" | "upgrade" | "remove";
interface Options {
  readonly timeout: number;
  readonly yes?: boolean;
}

const MEANS: Record<Action, string> = {
  start: "run it: as it was, or the first time as the manifest has it",
  stop: "end it; its container and its volumes stay",
  upgrade: "replace its container by what the manifest has now, on the same volumes",
  remove: "take its container away; its volumes stay, and you are told which",
};
const ASKS: Record<Exclude<Action, "start">, string> = {
  stop: "the app loses it until it is started again",
  upgrade: "it is away for a moment, and put back if the new one does not stay up",
  remove: "the app loses it; its volumes stay",
};

export const accessory: Register = (program, act) => {
  const group = program
    .command("accessory")
    .alias("accessories")
    .description("databases, caches: what runs beside the app and no deploy touches")
    .addHelpText(
      "beforeAll",
      examplesOfEach(
        "sluice accessory list",
        "sluice accessory start db",
        "sluice accessory stop db",
        "sluice accessory upgrade db -e staging --yes",
        "sluice accessory remove db",
      ),
    );
  group.command("list", { isDefault: true }).description("all of the environment's").action(act(list));
  for (const action of ["start", "stop", "upgrade", "remove"] as const) verb(group, act, action);
};

function verb(group: Command, act: Act, action: Action): void {
  const command = group
    .command(action)
    .argument("<name>", "as the manifest's `accessories:` has it")
    .description(MEANS[action])
    .addOption(timeoutOption("20m", "it"));
  if (action !== "start") command.option("-y, --yes", "don't ask");
  command.action(act((session, name: string, options: Options) => run(session, { action, name, options })));
}

async function list(session: Session): Promise<Outcome> {
  const { app, environment } = session.target();
  const { items } = await session.client.accessories.list(app, environment);
  const rows = items.map((view) => [
    view.name,
    stateText(view),
    hostText(view),
    view.image,
    noteOf(view).join("; "),
  ]);
  const text =
    items.length > 0
      ? table([["NAME", "STATE", "HOST", "IMAGE", "NOTE"], ...rows])
      : `${app}/${environment} has no accessories: name them under \`accessories:\` in the manifest`;
  return { exit: EXIT.ok, json: { items }, text };
}

interface Run {
  readonly action: Action;
  readonly name: string;
  readonly options: Options;
}

async function run(session: Session, { action, name, options }: Run): Promise<Outcome> {
  const { app, environment } = session.target();
  const at = { app, environment, name };
  const what = `${app}/${environment} ${name}`;
  if (action !== "start") await confirm(session, `${action} ${clean(what)}? (${ASKS[action]})`, options.yes);
  const begun =
    action === "remove"
      ? await session.client.accessories.remove(at)
      : await session.client.accessories.command(at, action);
  const end = await followAccessory(session, begun, { ...at, timeoutMs: options.timeout });
  const exit = exitOf(end);
  say(session, { action, what, begun, end });
  const json = { command: `accessory ${action}`, exitCode: exit, outcome: end.kind, accessory: end.view };
  return { exit, json };
}

/** Put back is 3, as a release's is; 4 is for what needs a person now. */
function exitOf(end: AccessoryEnd): ExitCode {
  switch (end.kind) {
    case "done":
      return EXIT.ok;
    case "kept":
      return EXIT.restored;
    case "failed":
      return EXIT.notRestored;
    case "detached":
      return EXIT.interrupted;
    case "timeout":
    case "lost":
      return EXIT.noAnswer;
  }
}

const DONE: Record<Action, string> = {
  start: "runs",
  stop: "is stopped",
  upgrade: "is upgraded and runs",
  remove: "is removed",
};

interface Said {
  readonly action: Action;
  readonly what: string;
  readonly begun: AccessoryView;
  readonly end: AccessoryEnd;
}

function say(session: Session, { action, what, begun, end }: Said): void {
  const { out } = session;
  const { view } = end;
  const goesOn = `it goes on without this command: ${session.command("accessory list")}`;
  if (end.kind === "done") {
    const where = begun.host === null ? "" : ` on ${clean(begun.host)}`;
    out.say(`${clean(what)} ${DONE[action]}${where}`);
    for (const note of noteOf(view)) if (action !== "remove") out.say(`  ${note}`);
    if (action === "remove") sayKept(session, begun);
  } else if (end.kind === "kept") {
    out.say(`${clean(what)}: ${action} failed, and it runs as before: ${clean(view.cause ?? "")}`);
  } else if (end.kind === "failed") {
    out.say(`${clean(what)}: ${action} failed: ${clean(view.cause ?? "nobody knows why")}`);
  } else if (end.kind === "timeout") {
    out.say(`${clean(what)} is still ${view.state}: ${goesOn}`);
  } else {
    out.say(end.kind === "lost" ? `no contact (${clean(end.reason)}): ${goesOn}` : `detached: ${goesOn}`);
  }
  if (end.kind === "kept" || end.kind === "failed")
    for (const line of view.job?.logs.slice(-20) ?? []) out.say(`  | ${clean(line)}`);
  if (end.kind === "failed")
    for (const step of view.next)
      out.say(`  next  ${session.carry(clean(step.command))}  (${clean(step.when)})`);
}

function sayKept({ out }: Session, { volumes, next }: AccessoryView): void {
  if (volumes.length === 0) return out.say("  it had no volumes");
  out.say(`  its volumes stay: ${volumes.map(clean).join(", ")}`);
  for (const step of next) out.say(`    ${clean(step.command)}  (${clean(step.when)})`);
}
