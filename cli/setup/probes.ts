import { APIError } from "cloudflare";
import { CliError } from "../io/problem.ts";
import { ask, isForbidden, type Sdk, saidBy } from "./cloudflare.ts";
import {
  byHand,
  type Extras,
  type NeedKey,
  needsOf,
  permissionLines,
  permissionName,
  tokenLink,
} from "./permissions.ts";
import type { Target } from "./target.ts";

/**
 * Reading is all that can be tried without changing anything, so a probe proves `Read`. A token with `Read` where `Edit`
 * is needed passes here and is refused at the first write, which names the permission and can be repeated.
 */
type Probe = (sdk: Sdk, target: Target) => PromiseLike<unknown>;

const PROBES: Readonly<Record<NeedKey, Probe>> = {
  workers: (sdk, { account }) => sdk.workers.scripts.list({ account_id: account.id }),
  d1: (sdk, { account }) => sdk.d1.database.list({ account_id: account.id, per_page: 1 }),
  kv: (sdk, { account }) => sdk.kv.namespaces.list({ account_id: account.id, per_page: 1 }),
  tunnels: (sdk, { account }) =>
    sdk.zeroTrust.tunnels.cloudflared.list({ account_id: account.id, per_page: 1 }),
  r2: (sdk, { account }) => sdk.r2.buckets.list({ account_id: account.id, per_page: 1 }),
  // Found by it already.
  zones: () => Promise.resolve(),
  dns: (sdk, target) =>
    Promise.all(zonesOf(target).map((zone_id) => sdk.dns.records.list({ zone_id, per_page: 1 }))),
  routes: (sdk, target) =>
    Promise.all(zonesOf(target).map((zone_id) => sdk.workers.routes.list({ zone_id }))),
  accessApps: (sdk, { account }) =>
    sdk.zeroTrust.access.applications.list({ account_id: account.id, per_page: 1 }),
  accessTokens: (sdk, { account }) =>
    sdk.zeroTrust.access.serviceTokens.list({ account_id: account.id, per_page: 1 }),
};

const zonesOf = ({ zone, slotZone }: Target) => [...new Set([zone.id, slotZone.id])];

export interface Checked extends Extras {
  readonly user: "setup" | "control";
  /** For the link. */
  readonly name: string;
}

/** Tries all of them and names all that are missing at once. */
export async function checkPermissions(
  sdk: Sdk,
  target: Target,
  { user, name, ...extras }: Checked,
): Promise<number> {
  const needs = needsOf(user, extras);
  const refused = await Promise.all(needs.map((need) => isRefused(need, () => PROBES[need](sdk, target))));
  const missing = needs.filter((_, i) => refused[i]);
  if (missing.length > 0) throw lacking(missing, needs, { user, name });
  return needs.length;
}

async function isRefused(need: NeedKey, probe: () => PromiseLike<unknown>): Promise<boolean> {
  try {
    await probe();
    return false;
  } catch (error) {
    if (isForbidden(error)) return true;
    return ask(`check \`${permissionName(need)}\``, need, () => Promise.reject(error));
  }
}

function lacking(
  missing: readonly NeedKey[],
  needs: readonly NeedKey[],
  { user, name }: Pick<Checked, "user" | "name">,
): CliError {
  const whose = user === "setup" ? "the API token" : "control's API token";
  return new CliError(
    "not_configured",
    `${whose} lacks ${missing.length} of ${needs.length} permissions; nothing was changed:\n${permissionLines(missing).join("\n")}`,
    { title: "permissions are missing", next: newToken(needs, name) },
  );
}

export function newToken(needs: readonly NeedKey[], name: string) {
  const hand = byHand(needs);
  const link = {
    command: tokenLink(needs, name),
    when: "opens Cloudflare's form with them filled in; choose account and zone there",
  };
  if (hand.length === 0) return [link];
  return [
    link,
    { command: `add ${hand.map(permissionName).join(" and ")}`, when: "by hand: the link can't" },
  ];
}

/** Whether Cloudflare knows the token, and that it is active. */
export async function checkToken(sdk: Sdk): Promise<void> {
  try {
    const { status } = await sdk.user.tokens.verify();
    if (status !== "active")
      throw new CliError("unauthenticated", `the API token is ${status}: make a new one`);
  } catch (error) {
    if (!(error instanceof APIError) || !isForbidden(error))
      return ask("verify the API token", "zones", () => Promise.reject(error));
    // An account's own token is unknown here, and shows in the zones that it sees.
    if (await seesZones(sdk)) return;
    throw new CliError(
      "unauthenticated",
      `Cloudflare does not take the API token: ${saidBy(error)}. Check CLOUDFLARE_API_TOKEN.`,
      {
        title: "a bad API token",
        next: newToken(needsOf("setup", { access: false, images: false }), "sluice"),
      },
    );
  }
}

async function seesZones(sdk: Sdk): Promise<boolean> {
  try {
    await sdk.zones.list({ per_page: 5 });
    return true;
  } catch (error) {
    if (isForbidden(error)) return false;
    throw error;
  }
}
