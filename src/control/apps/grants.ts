import { coveringGrant, type Grant, type Reserved, whyReserved } from "../../domain/hostnames.ts";
import { err, ok, type Result } from "../../domain/result.ts";
import type { ControlEnv } from "../env.ts";
import type { Refusal } from "../refusal.ts";
import type { GrantRow } from "../store/grants.ts";

/** What whoever applies a manifest may do about its hostnames. */
export interface Leave {
  /** An administrator of everything grants what they name; all others stay within what was granted. */
  readonly grants: boolean;
  /** To take names that lead to another site by now. */
  readonly claim: boolean;
  readonly reserved: Reserved;
}

/** Control's names: the one that setup gave it, and, as a hint for this request only, the one it was asked at. */
export const reservedNames = (env: ControlEnv, url: string): Reserved => ({
  control: [...(env.CONTROL_HOSTNAME ? [env.CONTROL_HOSTNAME] : []), new URL(url).hostname],
  slotZone: env.SLOT_ZONE,
});

/** The grants that an apply adds to those that are there, or why the app can't have one of the hostnames. */
export function grantsFor(
  at: { app: string; wanted: readonly string[]; existing: readonly Grant[] } & Leave,
  by: { actor: string; now: number },
): Result<readonly GrantRow[], Refusal> {
  const { app, wanted, existing, claim } = at;
  const detail = wanted.map((hostname) => whyReserved(hostname, at.reserved)).find((why) => why !== null);
  if (detail) return err({ code: "hostname_reserved", detail: `${detail}: pick another` });
  if (claim && !at.grants) return err(CLAIMS_NOT);
  const lacking = wanted.filter((hostname) => {
    const grants = claim ? existing.filter((grant) => grant.claim) : existing;
    return coveringGrant(grants, hostname) === undefined;
  });
  const [first] = lacking;
  if (first !== undefined && !at.grants) return err(notGranted(app, first, existing));
  return ok(lacking.map((pattern) => ({ app, pattern, claim, by: by.actor, createdAt: by.now })));
}

const CLAIMS_NOT: Refusal = {
  code: "forbidden",
  detail: "to claim a hostname from another site needs a token with the role admin for everything",
};

function notGranted(app: string, hostname: string, existing: readonly Grant[]): Refusal {
  const has = existing.map(({ pattern }) => pattern).join(", ") || "none";
  return {
    code: "hostname_not_granted",
    detail: `${app} may not have ${hostname}: no administrator granted it (granted: ${has})`,
    next: [
      { command: `sluice hostnames allow ${hostname} -a ${app}`, when: "an administrator agrees" },
      { command: `sluice hostnames -a ${app}`, when: "to see what is granted" },
    ],
  };
}
