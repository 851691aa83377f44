import type { ReleaseView } from "../../src/protocol/api/releases.ts";
import { EXIT } from "../exit-codes.ts";
import { clean, percent } from "../io/print.ts";
import type { Outcome, Session } from "../session.ts";
import { examples, parseCount, type Register } from "../verb.ts";
import { meantRelease } from "./watch.ts";

/** A person at the wheel of a release on its way. */
type Verb = "promote" | "pause" | "resume";
interface SteerOptions {
  /** 1 is the first, as people count. */
  readonly step?: number;
  readonly full?: boolean;
}

const RELEASE = ["[release]", "release id or version (default: the one on its way)"] as const;
const STEP = [
  "--step <n>",
  "the step you mean (1 is the first, 0 before it): refused if it is over",
  parseCount(50, 0),
] as const;

export const promote: Register = (program, act) => {
  program
    .command("promote")
    .argument(...RELEASE)
    .description("end the current step, pause or hold, and go on with the next")
    .option("--full", "end all of them: it takes all traffic now")
    .option(...STEP)
    .addHelpText(
      "before",
      examples("sluice promote", "sluice promote rel_01J9… --step 2", "sluice promote --full"),
    )
    .action(
      act((session, id: string | undefined, options: SteerOptions) => steer(session, "promote", id, options)),
    );
};

export const pause: Register = (program, act) => {
  program
    .command("pause")
    .argument(...RELEASE)
    .description("hold a release where it is, until it is resumed, promoted or aborted")
    .option(...STEP)
    .addHelpText("before", examples("sluice pause"))
    .action(
      act((session, id: string | undefined, options: SteerOptions) => steer(session, "pause", id, options)),
    );
};

export const resume: Register = (program, act) => {
  program
    .command("resume")
    .argument(...RELEASE)
    .description("let a paused release go on with the step it is in")
    .option(...STEP)
    .addHelpText("before", examples("sluice resume"))
    .action(
      act((session, id: string | undefined, options: SteerOptions) => steer(session, "resume", id, options)),
    );
};

/** Sends the step that was seen just now, so that an order never ends a step that nobody looked at. */
async function steer(
  session: Session,
  verb: Verb,
  id: string | undefined,
  { step, full }: SteerOptions,
): Promise<Outcome> {
  const { client } = session;
  const before = await client.releases.get(await meantRelease(session, verb, id));
  const seen = step === undefined ? begunOf(before) : step - 1;
  const body = seen === undefined ? {} : { step: seen };
  const release = await order();
  const watch = session.command(`watch ${release.id}`);
  session.out.say(steeredText(release, verb));
  session.out.say(`  watch  ${watch}`);
  return { exit: EXIT.ok, json: { command: verb, exitCode: EXIT.ok, before: placeOf(before), release } };

  function order(): Promise<ReleaseView> {
    if (verb === "promote") return client.releases.promote(before.id, { ...body, ...(full ? { full } : {}) });
    return verb === "pause"
      ? client.releases.pause(before.id, body)
      : client.releases.resume(before.id, body);
  }
}

/** The last step that has begun; -1 where it is held before its first. */
const begunOf = ({ step }: ReleaseView): number | undefined =>
  step ? step.index - (step.since === null ? 1 : 0) : undefined;

const placeOf = ({ state, step, weight, paused }: ReleaseView) => ({ state, step, weight, paused });

const DONE: Record<Verb, string> = { promote: "is promoted", pause: "is paused", resume: "goes on" };

function steeredText(release: ReleaseView, verb: Verb): string {
  const { step, paused, state, weight } = release;
  const where =
    step && state === "shifting" ? `step ${step.index + 1} of ${step.of}, ${clean(step.label)}` : state;
  const waits = paused && verb !== "pause" ? `; paused: ${clean(paused.reason)}` : "";
  return `${clean(release.version)} ${DONE[verb]}: ${where}, ${percent(weight)} of the traffic now${waits}`;
}
