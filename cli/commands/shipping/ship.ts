import { Option } from "commander";
import { ApiError } from "../../../src/client/index.ts";
import type { ReleaseView } from "../../../src/protocol/api/releases.ts";
import { EXIT } from "../../exit-codes.ts";
import { waitOption } from "../../follow/wait.ts";
import { exitTable } from "../../help.ts";
import { clean, inWords, quote } from "../../io/print.ts";
import { CliError, Interrupted, toProblem } from "../../io/problem.ts";
import type { Outcome, Session } from "../../session.ts";
import { dryRun } from "../../ship/dry-run.ts";
import { lineOf } from "../../ship/manifest-line.ts";
import { ToolFailed } from "../../ship/requires.ts";
import { type ShipOptions, sail } from "../../ship/sail.ts";
import { STAGES, Stages } from "../../ship/stages.ts";
import { writeSummary } from "../../ship/summary.ts";
import { planVoyage, type Voyage } from "../../ship/voyage.ts";
import { examples, type Register, timeoutOption } from "../../verb.ts";
import { holdOption, overrideOption, whenBusyOption } from "../deploy.ts";

export const ship: Register = (program, act) => {
  program
    .command("ship")
    .description(
      "from commit to live: requirements, docker build, push, release, smoke test; rolled back if that fails",
    )
    .addOption(
      new Option("--from <stage>", "begin there, after an earlier run").choices(STAGES).default("requires"),
    )
    .option(
      "--to-hosts",
      "without a registry: send control what it lacks of the image, and hosts fetch it there",
    )
    .option("--dry-run", "only say what would be run and done")
    .option("--no-apply", "release with what is applied already")
    .option("--version <label>", "a label for people (default: v<n>)")
    .addOption(whenBusyOption())
    .addOption(holdOption())
    .addOption(overrideOption())
    .addOption(waitOption())
    .addOption(timeoutOption())
    .addHelpText(
      "before",
      examples(
        "sluice ship",
        "sluice ship --to-hosts",
        "sluice ship -e staging --dry-run",
        "sluice ship --from push",
      ),
    )
    .addHelpText("after", exitTable())
    .action(act(run));
};

async function run(session: Session, options: ShipOptions & { dryRun?: boolean }): Promise<Outcome> {
  const voyage = await planVoyage(session, options);
  if (options.dryRun) return dryRun(session, voyage, options);
  session.requireControl();
  const { plan, target, tools } = voyage;
  session.out.say(`${target.app}/${target.environment} from ${tools.cwd} as ${plan.reference}`);
  const stages = new Stages(session);
  let begun: ReleaseView | undefined;
  const onBegun = (release: ReleaseView) => {
    begun = release;
  };
  try {
    const again = session.carry(`sluice ship${flagsOf(options)}`);
    const { outcome, release } = await sail(voyage, { session, stages, options, again, onBegun });
    tellJob(session, { voyage, stages, release, outcome });
    return { ...outcome, json: { ...outcome.json, stages: stages.ends } };
  } catch (error) {
    tellFailure(session, { voyage, stages, error });
    if (error instanceof Interrupted || (session.signal.aborted && !(error instanceof CliError)))
      return interrupted(session, { stages, voyage, begun, options });
    throw error;
  }
}

interface Told {
  readonly voyage: Voyage;
  readonly stages: Stages;
}

/** Ctrl-C, or a job that is being ended: what is left of it, and how to go on. */
function interrupted(
  session: Session,
  { stages, voyage, begun, options }: Told & { begun: ReleaseView | undefined; options: ShipOptions },
): Outcome {
  const last = stages.ends.at(-1);
  const stage = last?.stage ?? "requires";
  const again = session.carry(`sluice ship --from ${stage}${flagsOf(options)}`);
  const { out } = session;
  if (stage === "smoke" && last?.result === "failed") {
    const status = session.command("status", voyage.target);
    out.say(`interrupted: the smoke test failed, and a rollback was asked for.\n  look    ${status}`);
    return ended({ command: status, when: "to see who serves" });
  }
  if (stage === "smoke") {
    const from = begun === undefined ? "" : ` --from ${begun.id}`;
    out.say(`interrupted: the release serves, and its smoke test was cut short.\n  again   ${again}`);
    out.say(`  undo    ${session.command("rollback", voyage.target)}${from}`);
  } else if (begun) {
    out.say(`interrupted. ${begun.version} goes on without this command.`);
    out.say(
      `  watch  ${session.command(`watch ${begun.id}`)}\n  abort  ${session.command(`abort ${begun.id}`)}`,
    );
  } else out.say(`interrupted at ${stage}: nothing was released, and nothing goes on.\n  again   ${again}`);
  return ended({ command: again, when: "to go on where it stopped" });

  function ended(next: { command: string; when: string }): Outcome {
    const outcome = begun ? "detached" : "interrupted";
    const exitCode = EXIT.interrupted;
    const about = { release: begun ?? null, stages: stages.ends, next: [next] };
    return { exit: exitCode, json: { command: "ship", outcome, exitCode, ...about } };
  }
}

/** What a second run has to be told, too. */
const flagsOf = ({ apply, hold, override, toHosts, version, whenBusy }: ShipOptions): string =>
  [
    toHosts ? " --to-hosts" : "",
    apply ? "" : " --no-apply",
    hold ? " --hold" : "",
    override === true ? " --override" : override ? ` --override ${quote(override)}` : "",
    version === undefined ? "" : ` --version ${quote(version)}`,
    whenBusy === "queue" ? "" : ` --when-busy ${whenBusy}`,
  ].join("");

/** A CI job's summary, and the place in the manifest of what failed there. */
function tellJob(
  session: Session,
  { voyage, stages, release, outcome }: Told & { release: ReleaseView | undefined; outcome: Outcome },
): void {
  const { target } = voyage;
  const said = outcome.json as {
    outcome?: string;
    url?: string | null;
    undo?: string | null;
    failure?: { message: string };
  };
  const failure = said.failure?.message ?? release?.failure?.message;
  const ok = outcome.exit === EXIT.ok;
  if (!ok && release?.failure)
    stages.annotate({
      level: "error",
      title: `${release.version} ${inWords(release.state)}`,
      message: release.failure.message,
      ...placeOf(voyage, release.failure.code),
    });
  writeSummary(session, {
    title: `${release?.version ?? voyage.plan.reference} of ${target.app}/${target.environment}: ${inWords(said.outcome ?? "")}`,
    ok,
    stages: stages.ends,
    facts: [
      ["release", release?.id],
      ["image", release?.image],
      ["url", said.url ?? undefined],
      ["undo", said.undo ?? undefined],
      ["why", ok ? undefined : failure],
    ],
    tail: release?.failure?.logs ?? [],
  });
}

/** Which key of the manifest asked for what a release failed by. */
function placeOf({ target: { manifest } }: Voyage, code: string): { file: string; line: number | undefined } {
  const pointer = /^smoke/.test(code)
    ? "smoke"
    : /^health|^startup|^readiness/.test(code)
      ? "health"
      : /^hook/.test(code)
        ? "hooks"
        : "app";
  return { file: manifest.path, line: lineOf(manifest.text, pointer) };
}

/** Before anything was released. */
function tellFailure(session: Session, { voyage, stages, error }: Told & { error: unknown }): void {
  if (error instanceof Interrupted || !(error instanceof CliError || error instanceof ApiError)) return;
  const { manifest, app, environment } = voyage.target;
  const problem = toProblem(error);
  const tail = error instanceof ToolFailed ? error.tail : [];
  if (tail.length > 0)
    session.out.say(["its last lines:", ...tail.slice(-30).map((line) => `  | ${clean(line)}`)].join("\n"));
  const found = problem.errors ?? [{ pointer: "", detail: problem.detail }];
  for (const { pointer, detail } of found)
    stages.annotate({
      level: "error",
      title: problem.title,
      message: detail,
      file: manifest.path,
      line: lineOf(
        manifest.text,
        pointer.startsWith("requires.")
          ? `environments.${environment}.${pointer}`
          : pointer || pointerOf(problem.code, environment),
      ),
    });
  writeSummary(session, {
    title: `${app}/${environment}: ${problem.title}`,
    ok: false,
    stages: stages.ends,
    facts: [["why", [...new Set([problem.detail, ...found.map(({ detail }) => detail)])].join("; ")]],
    tail,
  });
}

const pointerOf = (code: string, environment: string): string =>
  code === "requirement_unmet"
    ? `environments.${environment}.requires.test`
    : code === "build_failed"
      ? "build"
      : "image";
