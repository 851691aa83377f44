import { setTimeout } from "node:timers/promises";
import type { DoctorView } from "../../src/protocol/api/doctor.ts";
import { CliError } from "../io/problem.ts";
import type { Session } from "../session.ts";
import { connect } from "../setup/cloudflare.ts";
import { homeOf, keptInstallation } from "../setup/files.ts";
import { controlUrl } from "../setup/installation.ts";
import { type Asker, interrogate } from "./interrogate.ts";
import { type Lab, newLab } from "./lab.ts";
import type { Check } from "./local.ts";
import { pasted } from "./paste.ts";
import { type Answer, QUESTIONS } from "./questions.ts";
import { beginOf, nameOf, overAt, RUN_MOST_MS, timeOf } from "./run-name.ts";

export interface ZoneAnswers {
  readonly answers: readonly Answer[];
  readonly checks: readonly Check[];
  /** Markdown, with nothing in it that is nobody's business. */
  readonly report: string;
}

const TOOK_TOO_LONG = new CliError(
  "timeout",
  `the zone was asked for ${RUN_MOST_MS / 60_000} minutes, and not everything was answered. Run it again: what this run made is removed.`,
);

interface Asked {
  /** The installation's. */
  readonly name: string;
  /** Control's version, and its clock. */
  readonly control: Pick<DoctorView, "version" | "now">;
  /** What was checked before. */
  readonly found: readonly Check[];
}

/** Asks what only a real zone can answer, and says it as checks and as a report. */
export async function askZone(session: Session, { name, control, found }: Asked): Promise<ZoneAnswers> {
  const over = new AbortController();
  globalThis.setTimeout(() => over.abort(TOOK_TOO_LONG), RUN_MOST_MS).unref();
  const signal = AbortSignal.any([session.signal, over.signal]);
  const lab = labOf(session, { name, signal, now: Date.parse(control.now) });
  if (lab)
    session.out.say(`asking the zone: what this makes (${lab.name}, sl-doctor…) it removes, in some minutes`);
  const asker: Asker = {
    signal,
    askInside: (question) => session.client.installation.askInside(question),
  };
  const sleep = (ms: number) => setTimeout(ms, undefined, { signal });
  const { answers, left, others } = await interrogate(asker, lab, { fetch, sleep });
  const troubles = found.filter(({ status }) => status === "fail" || status === "warn");
  const { hostname } = new URL(session.config.url);
  const zones = lab ? [lab.installation.zone.name, lab.installation.slotZone.name] : [hostname];
  const ids = lab
    ? [lab.installation.account.id, lab.installation.zone.id, lab.installation.slotZone.id]
    : [];
  const report = pasted(
    { cli: session.version, control: control.version, answers, troubles },
    { zones, ids },
  );
  return { answers, checks: [...answers.map(asCheck), ...left.map(asLeft), ...others.map(asOther)], report };
}

/** Null: no API token here, or no record of the installation that is asked. */
function labOf(
  session: Session,
  { name, signal, now }: { name: string; signal: AbortSignal; now: number },
): Lab | null {
  const token = session.env.CLOUDFLARE_API_TOKEN;
  const kept = keptInstallation(homeOf(session.env, name));
  if (!token || !kept) return null;
  const installation = { ...kept, name };
  if (controlUrl(installation) !== new URL(session.config.url).origin) return null;
  const of = { token, baseUrl: session.env.CLOUDFLARE_API_BASE_URL };
  const sdk = connect({ ...of, signal });
  const sweeper = connect({ ...of, signal: new AbortController().signal });
  return newLab({ sdk, sweeper, installation, now });
}

const STATUS = { expected: "ok", other: "warn", unasked: "skip" } as const;

const asCheck = ({ id, verdict, words }: Answer): Check => ({
  id: `live.${id}`,
  subject: "zone",
  status: STATUS[verdict],
  detail: `${QUESTIONS[id]} ${words}`,
  fix: verdict === "other" ? `docs/first-live-run.md, ${id}: what to change` : null,
});

const asLeft = (what: string): Check => ({
  id: "live.left",
  subject: "zone",
  status: "fail",
  detail: `could not be removed again: ${what}`,
  fix: "sluice doctor --live removes it, run again half an hour from now; or remove what is named sluice-doctor-… by hand",
});

const asOther = (run: string): Check => ({
  id: "live.other",
  subject: "zone",
  status: "warn",
  detail: `another run's things are there: ${nameOf(run)}, begun ${timeOf(beginOf(run))}`,
  fix: `nothing, if it is at work. If it was killed: sluice doctor --live after ${timeOf(overAt(run))} removes them`,
});
