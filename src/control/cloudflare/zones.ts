import { zoneCandidates } from "../../domain/tunnel.ts";
import type { Cloudflare } from "./cloudflare.ts";
import { ask } from "./refused.ts";

/** The zone of this account that a hostname is in, by the longest name that fits; null: none is. */
export async function findZone({ sdk, settings }: Cloudflare, hostname: string): Promise<string | null> {
  for (const name of zoneCandidates(hostname)) {
    const page = await ask(`look for the zone ${name}`, "Zone › Zone › Read", async () =>
      sdk.zones.list({ name, account: { id: settings.account } }),
    );
    const zone = page.result.find((candidate) => candidate.name === name);
    if (zone) return zone.id;
  }
  return null;
}
