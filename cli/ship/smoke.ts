import { ApiError, ConnectionError } from "../../src/client/index.ts";
import type { ReleaseView } from "../../src/protocol/api/releases.ts";
import { EXIT } from "../exit-codes.ts";
import { tell } from "../follow/ending.ts";
import { isRestored, splitText } from "../follow/release-end.ts";
import { clean, plural, quote } from "../io/print.ts";
import { CliError } from "../io/problem.ts";
import type { Outcome, Session } from "../session.ts";
import { edgeUrl, pathOf } from "../verb.ts";
import { smokeFromOutside } from "./from-outside.ts";
import { lineOf } from "./manifest-line.ts";
import { type Begun, takeBack } from "./release.ts";
import type { StageLog, Stages } from "./stages.ts";
import { type Command, runTool } from "./tool.ts";
import type { Voyage } from "./voyage.ts";

interface Parts {
  readonly session: Session;
  readonly stages: Stages;
  readonly options: { readonly timeout: number };
}
interface Serving {
  readonly release: ReleaseView;
  readonly began: Begun["how"];
  /** Says that all is well. */
  readonly tell: () => Promise<Outcome>;
}
interface Ended {
  readonly outcome: Outcome;
  readonly release: ReleaseView;
}
/** What was not as wanted, and which key of the manifest wants it. */
interface Finding {
  readonly detail: string;
  readonly pointer: string;
}

/** `--from smoke`: of what serves now. */
export async function smokeOfLive(voyage: Voyage, parts: Parts): Promise<Ended> {
  const { session } = parts;
  const { app, environment } = voyage.target;
  const { live } = (await session.client.environments.get(app, environment)).environment;
  if (!live) throw new CliError("release_not_serving", `nothing serves in ${app}/${environment} yet`);
  return smoke(voyage, parts, {
    release: live,
    began: "serving",
    tell: () => tell(session, live, { command: "ship" }),
  });
}

/** Looks at what serves; takes it back if that isn't as the manifest wants it. */
export async function smoke(voyage: Voyage, parts: Parts, serving: Serving): Promise<Ended> {
  const { session, stages } = parts;
  const { release } = serving;
  const finding = await stages.run("smoke", async (log) => {
    const notes: string[] = [];
    const note = (text: string) => {
      notes.push(text);
      log.note(notes.join("; "));
    };
    const found =
      (await findingOfRequests(voyage, session, { release, note })) ??
      (await findingOfCommand(voyage, session, { release, note, line: log.line }));
    if (found) log.fail(found.detail);
    return found;
  });
  if (!finding) return { outcome: await serving.tell(), release };
  const { manifest } = voyage.target;
  const message = `${clean(release.version)}: ${finding.detail}`;
  stages.annotate({
    level: "error",
    title: "smoke test failed",
    message,
    file: manifest.path,
    line: lineOf(manifest.text, finding.pointer),
  });
  session.out.say(session.out.paint("red", `✖ smoke test failed: ${message}`));
  return afterFailure(voyage, parts, { ...serving, finding });
}

async function afterFailure(
  { target }: Voyage,
  { session, options }: Parts,
  { release, began, finding }: Serving & { readonly finding: Finding },
): Promise<Ended> {
  const failure = { code: "smoke_failed", message: finding.detail };
  const end = async (exit: 3 | 4, outcome: string): Promise<Ended> => {
    const now = await asItIsNow(session, release);
    return {
      release: now,
      outcome: { exit, json: { command: "ship", outcome, exitCode: exit, release: now, failure } },
    };
  };
  const { environment } = await session.client.environments.get(target.app, target.environment);
  const version = clean(release.version);
  if (isRestored(release, environment)) {
    session.out.say(`${version} has no traffic any more: ${splitText(environment)}`);
    return end(EXIT.restored, "superseded");
  }
  // Another release is on its way, and what failed is what a rollback would lead back to.
  if (environment.rollback.to?.release === release.id) {
    const next = environment.active?.version;
    session.out.say(
      `${version} is left as it is: ${next === undefined ? "another release" : clean(next)} is on its way, and a rollback would lead back to ${version}. Look: ${session.command("status", target)}`,
    );
    return end(EXIT.notRestored, "live");
  }
  // One that has served for long is no longer this run's: what broke may be the check.
  if (began === "serving" && environment.rollback.how !== "instant") {
    const undo = session.command("rollback", target);
    session.out.say(`${version} served before this run, and is left as it is. To go back: ${undo}`);
    return end(EXIT.notRestored, "live");
  }
  const exit = await takeBack(session, target, { release, timeoutMs: options.timeout });
  return exit === EXIT.restored ? end(exit, "rolled_back") : end(EXIT.notRestored, "failed");
}

/** It was read before it was taken back. */
async function asItIsNow(session: Session, release: ReleaseView): Promise<ReleaseView> {
  try {
    return await session.client.releases.get(release.id);
  } catch (error) {
    if (error instanceof ApiError || error instanceof ConnectionError) return release;
    throw error;
  }
}

interface Looking {
  readonly release: ReleaseView;
  /** What a look came to. */
  readonly note: (text: string) => void;
}

/** A wildcard is no place to go. */
const firstHostname = ({ environment }: Voyage): string | undefined =>
  environment.hostnames.find((name) => !name.startsWith("*."));

/** What the app's own paths come after, as visitors write them: its part of the hostname's, where the app doesn't see that. */
function baseOf(voyage: Voyage, session: Session): string | undefined {
  const hostname = firstHostname(voyage);
  if (hostname === undefined) return undefined;
  return edgeUrl(session, hostname) + (voyage.environment.stripPrefix ? pathOf(hostname) : "");
}

/** The manifest's smoke requests, at the public address. */
async function findingOfRequests(
  voyage: Voyage,
  session: Session,
  { release, note }: Looking,
): Promise<Finding | undefined> {
  const { manifest } = voyage.target.manifest;
  const url = baseOf(voyage, session);
  if (url === undefined || manifest.smoke.length === 0) {
    if (!voyage.environment.smokeTest) note("the manifest asks for none");
    return undefined;
  }
  const look = await smokeFromOutside(url, manifest.smoke, { release, signal: session.signal });
  if (look.kind === "bad") return { detail: look.detail, pointer: `smoke.${look.index}` };
  const asked = plural(manifest.smoke.length, "request");
  note(look.kind === "good" ? `${asked} to ${url}` : `not asked from here: ${look.detail}`);
  return undefined;
}

/** The environment's `smokeTest`. */
async function findingOfCommand(
  voyage: Voyage,
  session: Session,
  { release, note, line }: Looking & Pick<StageLog, "line">,
): Promise<Finding | undefined> {
  const { environment, target, tools } = voyage;
  if (!environment.smokeTest) return undefined;
  const hostname = firstHostname(voyage);
  const env = {
    ...tools.env,
    SLUICE_PUBLIC_URL: hostname && edgeUrl(session, hostname) + pathOf(hostname),
    SLUICE_ENVIRONMENT: target.environment,
    SLUICE_VERSION: release.version,
  };
  const command = environment.smokeTest as [string, ...string[]] satisfies Command;
  const ended = await runTool(command, { ...tools, env, onLine: line });
  const said = clean(command.map(quote).join(" "));
  if (ended.code === 0) {
    note(`${said} passed`);
    return undefined;
  }
  for (const line of ended.tail.slice(-20)) session.out.say(`  | ${clean(line)}`);
  const why = ended.missing
    ? "there is no such program, or it may not be run"
    : `ended with ${ended.code ?? "a signal"}`;
  return { detail: `\`${said}\` ${why}`, pointer: `environments.${target.environment}.smokeTest` };
}
