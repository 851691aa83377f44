import type { DoctorView } from "../../src/protocol/api/doctor.ts";
import type { Session } from "../session.ts";

export type Check = DoctorView["checks"][number];

const CLOCK_WARN_MS = 5_000;

/** What only this machine can tell: how control answers here, and whether its clock and version fit. */
export async function examineHere(
  session: Session,
  options: { live: boolean },
): Promise<{ view: DoctorView; checks: Check[] }> {
  const sentAt = session.now();
  const view = await session.client.installation.doctor(options);
  const receivedAt = session.now();
  const skewMs = Math.round((sentAt + receivedAt) / 2 - Date.parse(view.now));
  return {
    view,
    checks: [contact(session, view, receivedAt - sentAt), token(view), clock(skewMs, receivedAt - sentAt)],
  };
}

const here = (check: Omit<Check, "subject">): Check => ({ subject: "here", ...check });

function contact({ config, version }: Session, view: DoctorView, tookMs: number): Check {
  const detail = `control ${view.version} at ${config.url} answers in ${tookMs} ms`;
  // Behind the plus is which build it is, and says nothing of what is older (semver.org §10).
  const [control, own] = [view.version, version].map((one) => /^\d+\.\d+\.\d+[^+]*/.exec(one)?.[0]);
  if (control === own || control === undefined || own === undefined)
    return here({ id: "here.contact", status: "ok", detail, fix: null });
  const fix = "upgrade the older of the two: npm install, or sluice setup for control";
  return here({ id: "here.contact", status: "warn", detail: `${detail}; this CLI is ${version}`, fix });
}

const token = ({ actor, role }: DoctorView): Check =>
  here({ id: "here.token", status: "ok", detail: `you are ${actor}, ${role}`, fix: null });

/** Half the round trip is the error of this measurement: within it nothing is claimed. */
function clock(skewMs: number, tookMs: number): Check {
  const detail = `clock ${skewMs < 0 ? "" : "+"}${(skewMs / 1_000).toFixed(1)} s against control`;
  const isOff = Math.abs(skewMs) > CLOCK_WARN_MS + tookMs / 2;
  if (!isOff) return here({ id: "here.clock", status: "ok", detail, fix: null });
  return here({ id: "here.clock", status: "warn", detail, fix: "timedatectl set-ntp true" });
}
