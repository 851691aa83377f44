import { Command, CommanderError, Option } from "commander";
import { abort } from "./commands/abort.ts";
import { accessory } from "./commands/accessory.ts";
import { apply } from "./commands/apply.ts";
import { approve, reject } from "./commands/approve.ts";
import { audit } from "./commands/audit/audit.ts";
import { deploy } from "./commands/deploy.ts";
import { destroy } from "./commands/destroy.ts";
import { explain } from "./commands/explain.ts";
import { dora } from "./commands/figures/dora.ts";
import { events } from "./commands/figures/events.ts";
import { top } from "./commands/figures/top.ts";
import { hostnames } from "./commands/hostnames.ts";
import { hosts } from "./commands/hosts.ts";
import { completion } from "./commands/installation/completion.ts";
import { doctor } from "./commands/installation/doctor.ts";
import { people } from "./commands/installation/people.ts";
import { setup } from "./commands/installation/setup.ts";
import { teardown } from "./commands/installation/teardown.ts";
import { token } from "./commands/installation/token.ts";
import { trust } from "./commands/installation/trust.ts";
import { lock, unlock } from "./commands/lock.ts";
import { logs } from "./commands/logs.ts";
import { maintenance } from "./commands/maintenance.ts";
import { plan } from "./commands/plan.ts";
import { preview } from "./commands/previews/preview.ts";
import { run } from "./commands/processes/run.ts";
import { runs } from "./commands/processes/runs.ts";
import { restart, scale } from "./commands/processes/scale.ts";
import { importFile } from "./commands/project/import.ts";
import { init } from "./commands/project/init.ts";
import { registry } from "./commands/registry.ts";
import { releases } from "./commands/releases.ts";
import { rollback } from "./commands/rollback.ts";
import { secrets } from "./commands/secrets.ts";
import { promoteTo } from "./commands/shipping/promote-to.ts";
import { ship } from "./commands/shipping/ship.ts";
import { status } from "./commands/status.ts";
import { pause, promote, resume } from "./commands/steer.ts";
import { verdicts } from "./commands/verdicts.ts";
import { watch } from "./commands/watch.ts";
import { webhooks } from "./commands/webhooks.ts";
import { weight } from "./commands/weight.ts";
import { formatHelp } from "./help.ts";
import { mcp } from "./mcp/mcp.ts";
import { type Act, examples, type Register } from "./verb.ts";

const VERBS: readonly Register[] = [
  init,
  importFile,
  apply,
  plan,
  deploy,
  ship,
  promoteTo,
  watch,
  status,
  logs,
  approve,
  reject,
  promote,
  pause,
  resume,
  abort,
  weight,
  rollback,
  restart,
  scale,
  run,
  runs,
  preview,
  top,
  events,
  verdicts,
  releases,
  lock,
  unlock,
  maintenance,
  secrets,
  registry,
  webhooks,
  hostnames,
  accessory,
  destroy,
  hosts,
  doctor,
  token,
  trust,
  people,
  audit,
  dora,
  mcp,
  setup,
  teardown,
  explain,
  completion,
];

interface ProgramParts {
  readonly act: Act;
  readonly version: string;
  /** stdout, for help and version that were asked for. */
  readonly write: (text: string) => void;
  /** stderr, for help that was not. */
  readonly warn: (text: string) => void;
}

/** The command line's grammar. Throws commander's errors, never exits. */
export function createProgram({ act, version, write, warn }: ProgramParts): Command {
  const program = new Command("sluice")
    .description("Zero-downtime releases of Docker apps on your own hosts")
    .version(version, "-V, --cli-version", "this CLI's version")
    .option("-a, --app <name>", "the app (default: the manifest's)")
    .option("-e, --env <name>", "the environment (default: the manifest's only one, else production)")
    .option("-f, --file <path>", "the manifest (default: sluice.yaml here or above)")
    .option("--url <url>", "the control plane (default: SLUICE_URL, else .sluice/cli.json)")
    .option("--token <token>", "default: SLUICE_TOKEN, else .sluice/cli.json; in CI prefer the variable")
    .addOption(
      new Option("--json [mode]", "one JSON object on stdout; `stream`: events before it, as NDJSON").choices(
        ["object", "stream"],
      ),
    )
    .helpOption("-h, --help", "help, also for one command")
    .helpCommand("help [command]", "help for a command")
    .configureHelp({ showGlobalOptions: true, formatHelp })
    .configureOutput({ writeOut: write, writeErr: warn, outputError: () => {} })
    .addHelpText(
      "before",
      examples(
        "sluice apply",
        "sluice deploy --image ghcr.io/acme/shop:1.4.2",
        "sluice status",
        "sluice rollback",
      ),
    );
  for (const register of VERBS) register(program, act);
  nameInErrors(program, "sluice");
  return program;
}

/** A command line that can't be read, and the command whose `-h` says how it is to be. */
export class UsageError extends CommanderError {
  readonly command: string;

  constructor({ exitCode, code, message }: CommanderError, command: string) {
    super(exitCode, code, message);
    this.command = command;
  }
}

/** Commander's own errors don't tell whose they are. */
function nameInErrors(command: Command, name: string): void {
  command.exitOverride((error) => {
    throw strayWord(command, error) ?? new UsageError(error, name);
  });
  for (const child of command.commands) nameInErrors(child, `${name} ${child.name()}`);
}

/** A word that is no subcommand commander hands to the group's default one, and calls an argument too many of that. */
function strayWord(command: Command, { code, exitCode }: CommanderError): UsageError | undefined {
  const { parent } = command;
  if (code !== "commander.excessArguments" || !parent || parent.args[0] === command.name()) return undefined;
  const there = parent.commands.map((one) => one.name()).join(", ");
  const message = `unknown command '${command.args[0]}': ${parent.name()} has ${there}`;
  return new UsageError(
    new CommanderError(exitCode, "commander.unknownCommand", message),
    `sluice ${parent.name()}`,
  );
}
