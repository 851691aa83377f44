import { isProblem } from "../../src/client/index.ts";
import { dataSize } from "../../src/domain/data-size.ts";
import type { ReleaseView } from "../../src/protocol/api/releases.ts";
import { type ReleaseOptions, releaseBody, sayCreated } from "../commands/deploy.ts";
import { tell, waitFor } from "../follow/ending.ts";
import { isServing } from "../follow/progress.ts";
import type { Wait } from "../follow/wait.ts";
import { clean, inWords, plural, quote } from "../io/print.ts";
import { CliError } from "../io/problem.ts";
import type { Outcome, Session } from "../session.ts";
import { sendImage } from "./hosts/to-hosts.ts";
import { buildImage, isPushedByBuild, knownDigest, pushImage } from "./image.ts";
import { applyFirst, beginRelease } from "./release.ts";
import { gitIn, type Repository, readRepository } from "./repository.ts";
import { runTests, type Unmet } from "./requires.ts";
import { smoke, smokeOfLive } from "./smoke.ts";
import { STAGES, type Stage, type StageLog, type Stages } from "./stages.ts";
import type { ToolOptions } from "./tool.ts";
import type { Voyage } from "./voyage.ts";

export interface ShipOptions extends ReleaseOptions {
  readonly toHosts?: boolean;
  readonly from: Stage;
  readonly apply: boolean;
  readonly timeout: number;
  readonly wait: Wait;
}

export interface Sailed {
  readonly outcome: Outcome;
  readonly release: ReleaseView | undefined;
}

interface Parts {
  readonly session: Session;
  readonly stages: Stages;
  readonly options: ShipOptions;
  /** The command that does all of it again. */
  readonly again: string;
  /** From here on the release goes on by itself. */
  readonly onBegun: (release: ReleaseView) => void;
}

/** The stages, one after another. Throws what ended one of the first three: nothing was released then. */
export async function sail(voyage: Voyage, parts: Parts): Promise<Sailed> {
  const { stages, options } = parts;
  const from = STAGES.indexOf(options.from);
  const runs = (stage: Stage) => STAGES.indexOf(stage) >= from;
  const skip = (stage: Stage) => stages.skip(stage, `--from ${options.from}`);
  if (runs("requires")) await stages.run("requires", (log) => meet(voyage, log));
  else skip("requires");
  if (runs("build")) await stages.run("build", (log) => build(voyage, log));
  else skip("build");
  // Of what was sent to control only a push knows the digest: what is there is not sent again.
  const pushes = runs("push") || (voyage.plan.toHosts && runs("release"));
  const pushed = pushes ? await stages.run("push", (log) => push(voyage, parts, log)) : undefined;
  if (!pushes) skip("push");
  if (!runs("release")) {
    skip("release");
    return smokeOfLive(voyage, parts);
  }
  const image = `${voyage.plan.repository}${pushed ?? (await lastPushed(voyage))}`;
  return release(voyage, { ...parts, image });
}

async function meet({ requires, unmet, tools, notes, repository }: Voyage, log: StageLog): Promise<void> {
  if (unmet.length > 0) throw unmetError(unmet);
  if (requires.test) {
    await runTests(requires.test as [string, ...string[]], { ...tools, onLine: log.line });
    await requireSame(repository, tools);
  }
  log.note([...notes, ...(requires.test ? [`${requires.test.map(quote).join(" ")} passed`] : [])].join("; "));
}

/** The image is called by the commit that was seen: tests that change files, or a checkout meanwhile, make it another. */
async function requireSame(before: Repository | undefined, tools: ToolOptions): Promise<void> {
  if (before === undefined) return;
  const found = await readRepository(gitIn(tools), tools.env);
  const now = "repository" in found ? found.repository : undefined;
  if (now && now.sha === before.sha && now.changed.join("\n") === before.changed.join("\n")) return;
  const what =
    now === undefined || now.sha === before.sha
      ? now?.changed.slice(0, 5).map(clean).join(", ")
      : "another commit is checked out";
  throw new CliError(
    "requirement_unmet",
    `the tree changed while the tests ran: ${what ?? "git no longer answers"}`,
  );
}

const unmetError = (unmet: readonly Unmet[]): CliError =>
  new CliError("requirement_unmet", `${plural(unmet.length, "requirement")} not met`, {
    errors: unmet.map(({ key, detail }) => ({ pointer: `requires.${key}`, detail })),
  });

async function build({ plan, tools }: Voyage, log: StageLog): Promise<void> {
  if (plan.build.cache !== undefined && !plan.hasBuildx)
    log.line("build.cache needs buildx, which this docker has not: building without it");
  if (plan.build.cache === "registry" && plan.toHosts)
    log.line("build.cache is in a registry, and this image goes to none: building without it");
  await buildImage(plan, { ...tools, onLine: log.line });
  log.note(isPushedByBuild(plan) ? `${plan.reference}, for several platforms` : plan.reference);
}

/** As `@sha256:…`, or `:<tag>` where docker named no digest: the hosts then find it, and agree on it. */
async function push(voyage: Voyage, parts: Parts, log: StageLog): Promise<string> {
  const { plan, tools } = voyage;
  if (plan.toHosts) return pushToHosts(voyage, parts, log);
  const digest = await pushImage(plan, { ...tools, onLine: log.line });
  log.note(digest === undefined ? plan.reference : `${plan.repository}@${digest.slice(0, 19)}…`);
  return digest === undefined ? tagPart(plan.reference) : `@${digest}`;
}

/** To control, which has to know the app before it keeps an image of it. */
async function pushToHosts(
  { plan, tools, target }: Voyage,
  { session, options }: Parts,
  log: StageLog,
): Promise<string> {
  const { app, environment } = target;
  const sending = { at: { app, environment }, reference: plan.reference, tools, line: log.line };
  const send = () => sendImage({ client: session.client, ...sending });
  const shipped = await send().catch(async (error: unknown) => {
    if (!options.apply || !isProblem(error, "not_found")) throw error;
    await applyFirst(session, target.manifest);
    return send();
  });
  const { image, layers, sent } = shipped;
  const what = `${plural(sent.blobs, "blob")} of ${plural(layers, "layer")} and a configuration`;
  const words = sent.bytes === 0 ? "all of it was there" : `${dataSize(sent.bytes)} sent: ${what}`;
  const digest = image.slice(image.indexOf("@"));
  log.note(`${plan.repository}${digest.slice(0, 20)}…, ${words}`);
  return digest;
}

const tagPart = (reference: string) => reference.slice(reference.lastIndexOf(":"));

async function lastPushed({ plan, tools }: Voyage): Promise<string> {
  const digest = await knownDigest(plan, tools);
  return digest === undefined ? tagPart(plan.reference) : `@${digest}`;
}

async function release(voyage: Voyage, { image, ...parts }: Parts & { image: string }): Promise<Sailed> {
  const { session, stages, options, again } = parts;
  const { target } = voyage;
  const { timeout: timeoutMs, wait } = options;
  const waited = await stages.run(
    "release",
    async (log) => {
      if (options.apply) await applyFirst(session, target.manifest);
      const body = await releaseBody(session, { ...options, image });
      const begun = await beginRelease(session, target, body);
      parts.onBegun(begun.release);
      if (begun.how === "serving") {
        log.note(`${clean(begun.release.version)} serves this image and this manifest already`);
        return {
          begun,
          end: undefined,
          tell: () => tell(session, begun.release, { command: "ship", again }),
        };
      }
      sayCreated(session, { release: begun.release, isEarlier: begun.how === "joined" });
      const ended = await waitFor(session, begun.release, { command: "ship", again, timeoutMs, wait });
      const last = ended.end.kind === "over" ? ended.end.release : undefined;
      const state = last ? (isServing(last.state) ? "serves" : inWords(last.state)) : ended.end.kind;
      const words = `${clean(begun.release.version)} ${state}`;
      (last && !isServing(last.state) ? log.fail : log.note)(words);
      return { begun, ...ended };
    },
    { live: false },
  );
  const last = waited.end?.kind === "over" ? waited.end.release : waited.begun.release;
  const serves = waited.end === undefined || (waited.end.kind === "over" && isServing(last.state));
  if (serves) return smoke(voyage, parts, { release: last, began: waited.begun.how, tell: waited.tell });
  stages.skip("smoke", "it has not got all traffic");
  const outcome = await waited.tell();
  if (waited.end?.kind === "detached")
    session.out.say(`  abort  ${session.command(`abort ${waited.begun.release.id}`)}`);
  return { outcome, release: last };
}
