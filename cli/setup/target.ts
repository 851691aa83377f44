import type { Zone as SdkZone } from "cloudflare/resources/zones/zones";
import { clean } from "../io/print.ts";
import { CliError } from "../io/problem.ts";
import { ask, isForbidden, type Sdk } from "./cloudflare.ts";
import { permissionName } from "./permissions.ts";

/** Which account and which zones: everything else is made within them. */

export interface Named {
  readonly id: string;
  readonly name: string;
}
export interface Target {
  readonly account: Named;
  readonly zone: Named;
  readonly slotZone: Named;
}
interface Wanted {
  readonly zone: string;
  readonly slotZone: string;
  /** Id or name. */
  readonly account: string | undefined;
}

/** The account is the zone's: it need not be named, and a token needs no permission to list accounts. */
export async function findTarget(sdk: Sdk, wanted: Wanted): Promise<Target> {
  const zone = await findZone(sdk, wanted.zone, wanted.account);
  const account = accountOf(zone);
  if (wanted.slotZone === wanted.zone) return { account, zone: named(zone), slotZone: named(zone) };
  return { account, zone: named(zone), slotZone: named(await findZone(sdk, wanted.slotZone, account.id)) };
}

const ID = /^[0-9a-f]{32}$/;
const named = ({ id, name }: SdkZone): Named => ({ id, name });
const accountOf = ({ account }: SdkZone): Named => ({
  id: account.id ?? "",
  name: account.name ?? "unnamed",
});
const shown = ({ id, name }: Named) => `${clean(name)} (${id})`;

async function findZone(sdk: Sdk, name: string, account: string | undefined): Promise<SdkZone> {
  if (ID.test(name))
    throw new CliError("usage", `--zone takes the domain's name, such as example.com, not the id ${name}`);
  const found = await zonesNamed(sdk, name);
  if (found.length === 0) throw await unknownZone(sdk, name);
  const fitting = found.filter((zone) => isOf(zone, account));
  const [zone, ...others] = fitting;
  if (!zone) throw otherAccount(name, account ?? "", found);
  if (others.length > 0) throw severalAccounts(name, fitting);
  if (zone.status !== "active") throw inactive(zone);
  return zone;
}

async function zonesNamed(sdk: Sdk, name: string): Promise<SdkZone[]> {
  const zones: SdkZone[] = [];
  await ask(`find the zone ${name}`, "zones", async () => {
    for await (const zone of sdk.zones.list({ name })) zones.push(zone);
  });
  return zones;
}

const isOf = (zone: SdkZone, account: string | undefined) => {
  const { id, name } = accountOf(zone);
  return account === undefined || account === id || account === name;
};

/** A token without `Zone › Zone › Read` may be answered with an empty list, so both causes are named. */
async function unknownZone(sdk: Sdk, name: string): Promise<CliError> {
  const seen: string[] = [];
  try {
    for await (const zone of sdk.zones.list()) if (seen.push(zone.name) === 10) break;
  } catch (error) {
    if (!isForbidden(error)) throw error;
  }
  const parent = seen.find((zone) => name.endsWith(`.${zone}`));
  const sees = seen.length > 0 ? `it sees ${seen.map(clean).join(", ")}` : "it sees none";
  return new CliError(
    "not_found",
    parent === undefined
      ? `the API token sees no zone ${name}; ${sees}. Add the domain to Cloudflare, or give the token \`${permissionName("zones")}\` for it.`
      : `${name} is no zone of its own: it is a name in ${parent}`,
    {
      title: "unknown zone",
      next:
        parent === undefined
          ? []
          : [
              {
                command: `sluice setup --zone ${parent} --control-hostname ${name}`,
                when: "control is to be there",
              },
            ],
    },
  );
}

function otherAccount(name: string, account: string, found: readonly SdkZone[]): CliError {
  const owners = found.map((zone) => shown(accountOf(zone))).join(", ");
  const isZone = found.some(({ id }) => id === account);
  return new CliError(
    "usage",
    isZone
      ? `${account} is the id of the zone ${name}; --account takes its account's: ${owners}`
      : `the zone ${name} belongs to the account ${owners}, not to ${clean(account)}`,
    { title: "another account's zone" },
  );
}

const severalAccounts = (name: string, found: readonly SdkZone[]): CliError =>
  new CliError(
    "usage",
    `${name} is in several accounts: ${found.map((zone) => shown(accountOf(zone))).join(", ")}`,
    {
      title: "which account?",
      next: found.map((zone) => ({
        command: `sluice setup --zone ${name} --account ${accountOf(zone).id}`,
        when: `you mean ${clean(accountOf(zone).name)}`,
      })),
    },
  );

const inactive = ({ name, status, name_servers }: SdkZone): CliError =>
  new CliError(
    "not_configured",
    `Cloudflare calls the zone ${name} ${status}: it answers for it only once your registrar names ${(name_servers ?? []).join(" and ")} as its name servers`,
    { title: "the zone is not active" },
  );
