/** Which hostnames an app may take: those that an administrator granted it, and some never. */
import { isNumbered } from "./previews/hostname.ts";
import { liesIn, nameOf, prefixOf } from "./routing/site.ts";

/**
 * What an environment's app gets as its own name in `Host`: the first hostname that is one name, without its path; where
 * there are only wildcards, the name that the first lies below. Tunnels hold one for each slot, so it can't be the visitor's.
 */
export function publicHost(hostnames: readonly string[]): string {
  const names = hostnames.map(nameOf);
  return names.find((name) => !name.startsWith("*.")) ?? names[0]?.slice(2) ?? "";
}

/** An app's leave to take the hostnames that a pattern covers. */
export interface Grant {
  /**
   * `shop.example.com`, `*.shop.example.com` for everything below that name, `shop.example.com/api` for a part of its paths, or
   * `pr-{number}-shop.example.com` for pull requests' previews.
   */
  readonly pattern: string;
  /** Also names that lead to another site by now. */
  readonly claim: boolean;
}

/**
 * Whether a pattern covers a name, which may be a pattern itself. `*.` stands for one label or more, as in DNS; a name stands
 * for all its paths, and a path for what lies below it.
 */
export function covers(pattern: string, hostname: string): boolean {
  const name = nameOf(hostname);
  if (pattern.startsWith("*."))
    return pattern === hostname || (name.endsWith(pattern.slice(1)) && name !== pattern.slice(1));
  if (isNumbered(pattern, hostname)) return true;
  return nameOf(pattern) === name && liesIn(prefixOf(hostname), prefixOf(pattern));
}

/** Of the hostnames that others have, the longest that a path is a part of; undefined: it takes nothing of anybody's. */
export const heldAbove = <T extends { readonly hostname: string }>(
  owners: readonly T[],
  hostname: string,
): T | undefined =>
  owners
    .filter((owner) => owner.hostname !== hostname && !owner.hostname.startsWith("*."))
    .filter((owner) => covers(owner.hostname, hostname))
    .sort((one, other) => other.hostname.length - one.hostname.length)[0];

export const coveringGrant = (grants: readonly Grant[], hostname: string): Grant | undefined =>
  grants.find(({ pattern }) => covers(pattern, hostname));

/** What is Sluice's own, and no app's. */
export interface Reserved {
  /** Names that control answers at. */
  readonly control: readonly string[];
  readonly slotZone: string | undefined;
}

/** Why no app may ever have a hostname, granted or not, in words; null: it may. */
export function whyReserved(site: string, { control, slotZone }: Reserved): string | null {
  const hostname = nameOf(site);
  const [, ...parent] = hostname.split(".");
  if (parent.length === 0) return `${hostname} is a single label, which is no public hostname`;
  const own = control.find((name) => covers(hostname, asWritten(name)));
  if (own !== undefined) return `${hostname} would take the control plane's own hostname`;
  const zone = slotZone && asWritten(slotZone);
  const isSlots = zone && (covers(hostname, `sl-0.${zone}`) || isSlotLike(hostname, zone));
  return isSlots ? `${hostname} belongs to the slots of hosts in ${zone}` : null;
}

/** Whatever begins like a slot's name: the next slot's is not known yet. */
const isSlotLike = (hostname: string, zone: string) =>
  hostname.startsWith("sl-") && hostname.split(".").slice(1).join(".") === zone;

/** One spelling for one name: DNS knows no case, and a dot at the end says nothing. */
const asWritten = (hostname: string): string => hostname.toLowerCase().replace(/\.$/, "");
