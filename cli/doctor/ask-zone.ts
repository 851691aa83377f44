import { setTimeout } from "node:timers/promises";
import type { Session } from "../session.ts";
import { connect } from "../setup/cloudflare.ts";
import { homeOf, keptInstallation } from "../setup/files.ts";
import { controlUrl } from "../setup/installation.ts";
import { type Asker, interrogate } from "./interrogate.ts";
import { type Lab, newLab } from "./lab.ts";
import type { Check } from "./local.ts";
import { pasted } from "./paste.ts";
import { type Answer, QUESTIONS } from "./questions.ts";

export interface ZoneAnswers {
  readonly answers: readonly Answer[];
  readonly checks: readonly Check[];
  /** Markdown, with nothing in it that is nobody's business. */
  readonly report: string;
}

/** Asks what only a real zone can answer, and says it as checks and as a report. `found`: what was checked before. */
export async function askZone(
  session: Session,
  { name, control, found }: { name: string; control: string; found: readonly Check[] },
): Promise<ZoneAnswers> {
  const lab = labOf(session, name);
  if (lab)
    session.out.say(
      "asking the zone: what this makes (sluice-doctor, sl-doctor…) it removes, in some minutes",
    );
  const asker: Asker = {
    signal: session.signal,
    askInside: (question) => session.client.installation.askInside(question),
  };
  const sleep = (ms: number) => setTimeout(ms, undefined, { signal: session.signal });
  const { answers, left } = await interrogate(asker, lab, { fetch, sleep });
  const troubles = found.filter(({ status }) => status === "fail" || status === "warn");
  const { hostname } = new URL(session.config.url);
  const zones = lab ? [lab.installation.zone.name, lab.installation.slotZone.name] : [hostname];
  const ids = lab
    ? [lab.installation.account.id, lab.installation.zone.id, lab.installation.slotZone.id]
    : [];
  const report = pasted({ cli: session.version, control, answers, troubles }, { zones, ids });
  return { answers, checks: [...answers.map(asCheck), ...left.map(asLeft)], report };
}

/** Null: no API token here, or no record of the installation that is asked. */
function labOf(session: Session, name: string): Lab | null {
  const token = session.env.CLOUDFLARE_API_TOKEN;
  const kept = keptInstallation(homeOf(session.env, name));
  if (!token || !kept) return null;
  const installation = { ...kept, name };
  if (controlUrl(installation) !== new URL(session.config.url).origin) return null;
  const of = { token, baseUrl: session.env.CLOUDFLARE_API_BASE_URL };
  const sdk = connect({ ...of, signal: session.signal });
  const sweeper = connect({ ...of, signal: new AbortController().signal });
  return newLab({ sdk, sweeper, installation });
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
  fix: "sluice doctor --live removes it first, when it is run again; or remove sluice-doctor by hand",
});
