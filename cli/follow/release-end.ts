import type { EnvironmentView } from "../../src/protocol/api/environments.ts";
import type { ReleaseView } from "../../src/protocol/api/releases.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { failedRequestText } from "../failed-request.ts";
import { at, clean, count, duration, facts, inWords, type Paint, percent, plural } from "../io/print.ts";
import { isServing } from "./progress.ts";

/** How a release ended, judged by where the traffic is: the exit code and the last block. Pure. */
export interface ReleaseEnd {
  readonly exit: ExitCode;
  readonly outcome: "live" | "superseded" | "failed" | "aborted" | "rolled_back";
}

/** `environment` undefined: could not be read, so nothing good may be claimed of it. */
export function endOf(release: ReleaseView, environment: EnvironmentView | undefined): ReleaseEnd {
  if (isServing(release.state)) return { exit: EXIT.ok, outcome: "live" };
  const outcome = release.state === "superseded" ? "superseded" : outcomeOf(release.state);
  if (outcome === "superseded" && release.servingAt !== null) return { exit: EXIT.ok, outcome };
  if (outcome === "superseded" && release.startedAt === null) return { exit: EXIT.refused, outcome };
  // Like one that was refused when it was asked for: no free slot, no host, a lost secret.
  if (outcome === "failed" && release.startedAt === null && isRestored(release, environment))
    return { exit: EXIT.refused, outcome };
  return { exit: isRestored(release, environment) ? EXIT.restored : EXIT.notRestored, outcome };
}

/** What an abort wanted is the opposite: the release gone and its traffic back. One that got through first is a refusal. */
export function endOfStop(release: ReleaseView, environment: EnvironmentView | undefined): ReleaseEnd {
  const end = endOf(release, environment);
  if (end.outcome === "live") return { ...end, exit: EXIT.refused };
  const stopped = end.exit === EXIT.refused || end.exit === EXIT.restored;
  return stopped ? { ...end, exit: EXIT.ok } : end;
}

function outcomeOf(state: ReleaseView["state"]): "failed" | "aborted" | "rolled_back" {
  return state === "aborted" || state === "rolled_back" ? state : "failed";
}

/**
 * Proof, not hope: this release has no weight, and every release that has some has a ready instance for it. Where
 * nothing has weight, nothing may ever have had it.
 */
export function isRestored(release: ReleaseView, environment: EnvironmentView | undefined): boolean {
  if (!environment) return false;
  const serving = environment.split.filter((entry) => entry.weight > 0);
  if (serving.some((entry) => entry.release === release.id || entry.ready === 0)) return false;
  return serving.length > 0 || environment.live === null;
}

/** `v42 serves 100%`, `v42 90%, v43 10%`. */
export function splitText(environment: EnvironmentView): string {
  const serving = environment.split.filter((entry) => entry.weight > 0);
  if (serving.length === 0) return "nothing serves: no release has traffic";
  const parts = serving.map((entry) => {
    const ready = `${entry.ready} of ${plural(entry.instances, "instance")} ready`;
    return `${clean(entry.version)} serves ${percent(entry.weight)} (${ready})`;
  });
  return parts.join(", ");
}

export interface BlockParts {
  readonly release: ReleaseView;
  readonly environment: EnvironmentView | undefined;
  readonly url: string | undefined;
  /** The version that had the traffic before. */
  readonly was: string | undefined;
  /** Commands as this user would type them. */
  readonly undo: string;
  readonly next: readonly { readonly command: string; readonly when: string }[];
  readonly paint: Paint;
}

/** What a person reads last when it went well: what serves now, how long, what failed, how to undo. */
export function successBlock(parts: BlockParts): string {
  const { release, environment, paint } = parts;
  const was = parts.was === undefined ? "" : ` (was ${clean(parts.was)})`;
  const head = `${clean(release.version)} serves ${shareOf(release, environment)} of ${release.app}/${release.environment}${was}`;
  const rows: [string, string | undefined][] = [
    ["took", tookText(release)],
    ["requests", requestsText(release)],
    ["traffic", environment ? splitText(environment) : undefined],
    ["url", parts.url],
    ["undo", environment?.rollback.possible ? `${parts.undo}${undoText(environment)}` : undefined],
  ];
  return [paint("green", `✔ ${head}`), ...facts(rows)].join("\n");
}

/** What a person reads when the command leaves while the release is still on its way. */
export function stopBlock(
  { release, environment, next, paint }: BlockParts,
  kind: "reached" | "waiting",
): string {
  const has = `${clean(release.version)} has ${percent(release.weight)} of ${release.app}/${release.environment}`;
  const { step, paused, verdict } = release;
  const head =
    kind === "reached"
      ? paint("green", `✔ ${has} and ${paused ? "is paused" : "goes on"}`)
      : paint("yellow", `● ${has} and waits for you`);
  return [
    head,
    ...facts([
      ["step", step ? `${step.index + 1} of ${step.of}: ${clean(step.label)}` : undefined],
      ["paused", paused ? `by ${clean(paused.by)}: ${clean(paused.reason)}` : undefined],
      ["judge", verdict ? clean(verdict.words) : undefined],
      ["requests", requestsText(release)],
      ["traffic", environment ? splitText(environment) : undefined],
      [
        "gives up",
        kind === "waiting" && release.deadlineAt ? `at ${at(release.deadlineAt)}, back to stable` : undefined,
      ],
    ]),
    ...failedRequestText(release.failedRequest),
    ...nextLines(next, paint),
  ].join("\n");
}

/** After an abort: being stopped is the success, and where the traffic is now is the news. */
export function stoppedBlock({ release, environment, paint }: BlockParts, end: ReleaseEnd): string {
  const head = `${clean(release.version)} is stopped (${inWords(release.state)})`;
  return [
    paint("green", `✔ ${head}`),
    ...facts([
      ["requests", requestsText(release)],
      ["traffic now", trafficNow(environment, end)],
    ]),
  ].join("\n");
}

/** What a person reads last when it didn't: why, where the traffic is NOW, the app's last words, what to do. */
export function failureBlock(parts: BlockParts, end: ReleaseEnd): string {
  const { release, environment, paint } = parts;
  const { failure } = release;
  const message = failure ? `: ${clean(failure.message)}` : "";
  const head = `${clean(release.version)} ${inWords(release.state)} after ${tookText(release)}${message}`;
  const at = [failure?.host, failure?.instance].filter((part) => part !== undefined).join(", ");
  const rows: [string, string | undefined][] = [
    ["check", failure?.check && clean(failure.check.name)],
    ["value", failure?.check && clean(failure.check.value)],
    ["limit", failure?.check && clean(failure.check.limit)],
    ["judge", judgeText(release)],
    ["at", at ? clean(at) : undefined],
    ["requests", requestsText(release)],
    ["traffic now", trafficNow(environment, end)],
  ];
  const logs = failure?.logs.slice(-20) ?? [];
  return [
    paint("red", `✖ ${head}`),
    ...facts(rows),
    ...failedRequestText(release.failedRequest),
    ...(logs.length > 0 ? ["  the app's last lines:", ...logs.map((line) => `    | ${clean(line)}`)] : []),
    ...nextLines(parts.next, paint),
  ].join("\n");
}

/** The judge's words, where the failure doesn't say them already. */
function judgeText({ failure, verdict }: ReleaseView): string | undefined {
  if (!verdict || failure?.message.includes(verdict.words)) return undefined;
  return clean(verdict.words);
}

export function nextLines(next: BlockParts["next"], paint: Paint): string[] {
  const width = Math.max(0, ...next.map((step) => step.command.length));
  const lines = next.map(
    (step) => `    ${clean(step.command).padEnd(Math.min(width, 60))}  ${paint("dim", clean(step.when))}`,
  );
  return lines.length > 0 ? ["  next:", ...lines] : [];
}

function trafficNow(environment: EnvironmentView | undefined, end: ReleaseEnd): string {
  if (!environment) return "UNKNOWN: the environment could not be read just now; look before anything else";
  const warning = end.exit === EXIT.notRestored ? "NOT RESTORED: " : "";
  return `${warning}${splitText(environment)}`;
}

function shareOf(release: ReleaseView, environment: EnvironmentView | undefined): string {
  const entry = environment?.split.find((part) => part.release === release.id);
  return percent(entry?.weight ?? release.weight);
}

function tookText(release: ReleaseView): string {
  const end = release.servingAt ?? release.endedAt;
  if (end !== null) return duration(Date.parse(end) - Date.parse(release.createdAt));
  return duration(Object.values(release.timings).reduce((sum, ms) => sum + ms, 0));
}

const requestsText = ({ traffic }: ReleaseView) =>
  `${count(traffic.failed)} failed of ${plural(traffic.requests, "request")}`;

function undoText({ rollback }: EnvironmentView): string {
  const to = rollback.to ? `, to ${clean(rollback.to.version)}` : "";
  return rollback.how === "instant" ? `   instant${to}` : `   by starting its image again${to}`;
}
