import { isForbidden, type Sdk } from "./cloudflare.ts";

/** What of a zone's security meets programs. Null: the token may not read it, or the zone's plan has no such thing. */
export interface ZoneSecurity {
  readonly zone: string;
  readonly botFightMode: boolean | null;
  /** `off`, `essentially_off`, `low`, `medium`, `high`, `under_attack`. */
  readonly level: string | null;
}

/** Nothing of it is needed: a token that may not read it makes an installation all the same. */
export async function readZoneSecurity(
  sdk: Sdk,
  { id: zone_id, name: zone }: { readonly id: string; readonly name: string },
): Promise<ZoneSecurity> {
  const [bots, level] = await Promise.all([
    unlessRefused(() => sdk.botManagement.get({ zone_id })),
    unlessRefused(() => sdk.zones.settings.get("security_level", { zone_id })),
  ]);
  const botFightMode = bots && "fight_mode" in bots ? (bots.fight_mode ?? null) : null;
  return { zone, botFightMode, level: level && "value" in level ? String(level.value) : null };
}

async function unlessRefused<T>(read: () => PromiseLike<T>): Promise<T | null> {
  try {
    return await read();
  } catch (error) {
    if (isForbidden(error)) return null;
    throw error;
  }
}

const MORE = "docs/cloudflare.md, Zone security";

/** What in there would stop agents, the command line or control's own checks, with what to set. */
export function securityLines({ zone, botFightMode, level }: ZoneSecurity): string[] {
  const bots = `${zone}: Bot Fight Mode is on: agents and CI get a challenge in control's place, and no rule can skip it. Switch it off (${MORE})`;
  const attack = `${zone}: “I'm Under Attack” is on: agents and CI get a challenge in control's place. Lower it for control's hostname and the slots (${MORE})`;
  if (botFightMode === null && level === null)
    return [
      `${zone}: its security settings can't be read with this token (Zone › Zone Settings › Read, Zone › Bot Management › Read). Bot Fight Mode or “I'm Under Attack” would stop agents (${MORE})`,
    ];
  return [...(botFightMode ? [bots] : []), ...(level === "under_attack" ? [attack] : [])];
}
