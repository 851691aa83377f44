/**
 * Slots behind tunnels: what their hostnames look like, and how the edge proves to its own shield that it may pass. One label
 * deep, since Universal SSL covers no more; random, so that nobody guesses one.
 */

/** Carries a proof. The shield takes it off: no app ever sees it. */
export const SLOT_PROOF_HEADER = "x-sluice-slot-proof";
/** A proof that leaks all the same, to an app that poses as the shield, opens its own slot for this long. */
export const SLOT_PROOF_LIFE_S = 300;
/** The shield's own mark on what it refuses. */
export const SHIELD_HEADER = "x-sluice-shield";

/** `<expiry>.<signature>`: epoch seconds, and the HMAC-SHA-256 (hex) of `slotProofPayload` by the shield's key. */
export interface SlotProof {
  readonly expiresAtS: number;
  readonly signature: string;
}

/** What is signed. */
export const slotProofPayload = (slot: string, expiresAtS: number): string =>
  `sluice-slot:1:${slot}:${expiresAtS}`;

export const formatSlotProof = ({ expiresAtS, signature }: SlotProof): string => `${expiresAtS}.${signature}`;

export function parseSlotProof(text: string): SlotProof | null {
  const [, expiry, signature] = /^([0-9]{1,12})\.([0-9a-f]{64})$/.exec(text) ?? [];
  return expiry === undefined || signature === undefined ? null : { expiresAtS: Number(expiry), signature };
}

const PREFIX = "sl-";
export const SLOT_LABEL_CHARS = 16;
const LABEL = /^sl-[0-9a-z]{16}$/;

/** The slot's hostname from 16 random characters of 0-9 and a-z. */
export const slotHostname = (random: string, zone: string): string => `${PREFIX}${random}.${zone}`;

/** Whether a hostname is that of a slot in this zone. Almost all are none, and are told apart by their first characters. */
export const isSlotHostname = (hostname: string, zone: string): boolean =>
  hostname.startsWith(PREFIX) &&
  hostname.length === PREFIX.length + SLOT_LABEL_CHARS + 1 + zone.length &&
  hostname.endsWith(zone) &&
  LABEL.test(hostname.slice(0, -zone.length - 1));

/** The zone of a slot's hostname, whichever it is; null: it is no slot's. */
export function zoneOfSlot(hostname: string): string | null {
  const zone = hostname.slice(PREFIX.length + SLOT_LABEL_CHARS + 1);
  return isSlotHostname(hostname, zone) ? zone : null;
}

/** Whether a hostname is the zone's own or below it. */
export const isWithin = (hostname: string, zone: string): boolean =>
  hostname.endsWith(zone) &&
  (hostname.length === zone.length || hostname.charCodeAt(hostname.length - zone.length - 1) === DOT);
const DOT = 46;

/**
 * What origins a table may name when slots are behind tunnels. A URL with a port is a host that was enrolled with its own
 * address. A slot of another zone is one from before the zone was changed: it may serve right now, and goes on.
 */
export function originSuffixes(origins: readonly string[], slotZone: string | undefined): string[] {
  if (slotZone === undefined) return [];
  const suffixes = new Set([`.${slotZone}`]);
  for (const origin of origins) {
    const [, hostname = "", port] = /^https?:\/\/([^/:]+)(:[0-9]+)?$/.exec(origin) ?? [];
    const zone = zoneOfSlot(hostname);
    if (port !== undefined) suffixes.add(hostname);
    else if (zone !== null) suffixes.add(`.${zone}`);
  }
  return [...suffixes];
}
