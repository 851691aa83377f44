import { err, ok, type Result } from "../../domain/result.ts";
import { decrypt, encrypt } from "../aead.ts";
import { fromBase64 } from "../bytes.ts";
import type { ControlEnv } from "../env.ts";

/**
 * How app secrets and registry passwords lie in D1: AES-256-GCM under a key that only control's Worker has, with a fresh
 * random nonce each time. What a value is and whom it belongs to is authenticated with it, so that a row copied to another
 * environment, app, name or registry can't be opened there.
 *
 *     1.<nonce>.<ciphertext and tag>       both base64url
 */
const FORM = "1";
const KEY = /^([A-Za-z0-9_-]{1,32}):([A-Za-z0-9+/]{43}=)$/;

export interface Sealed {
  readonly sealed: string;
  readonly keyId: string;
}

/** What a sealed value is: it opens here and nowhere else. */
export interface SealedPlace {
  readonly purpose: "secret" | "registry" | "webhook";
  /** Id of the environment, app or webhook. */
  readonly owner: string;
  /** The secret's name, or the registry. */
  readonly name: string;
}

export interface Keyring {
  readonly current: SealingKey;
  /** The one before a rotation: opens, and never seals. */
  readonly before: SealingKey | null;
}
interface SealingKey {
  readonly id: string;
  readonly key: CryptoKey;
}

/** The keys as the Worker's secrets have them, or why there are none, in words that hold nothing of a key. */
export async function readKeyring(
  env: Pick<ControlEnv, "SECRETS_KEY" | "SECRETS_KEY_BEFORE">,
): Promise<Result<Keyring, string>> {
  if (!env.SECRETS_KEY) {
    const what = "control has no key for secrets (SECRETS_KEY)";
    return err(`${what}: run \`sluice setup\`, which makes one and changes nothing that is there`);
  }
  const current = await readKey(env.SECRETS_KEY);
  if (!current) return err(misshapen("SECRETS_KEY"));
  // Both the same: half-way through a rotation, in the order that leaves no moment without the key.
  if (!env.SECRETS_KEY_BEFORE || env.SECRETS_KEY_BEFORE.trim() === env.SECRETS_KEY.trim())
    return ok({ current, before: null });
  const before = await readKey(env.SECRETS_KEY_BEFORE);
  if (!before) return err(misshapen("SECRETS_KEY_BEFORE"));
  if (before.id !== current.id) return ok({ current, before });
  return err(
    `SECRETS_KEY and SECRETS_KEY_BEFORE are both named \`${current.id}\`: give the new one another id`,
  );
}

async function readKey(text: string): Promise<SealingKey | undefined> {
  const [, id, base64] = KEY.exec(text.trim()) ?? [];
  if (id === undefined || base64 === undefined) return undefined;
  const bytes = fromBase64(base64);
  const key = await crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"]);
  return { id, key };
}

const misshapen = (binding: string) =>
  `${binding} is no key: it must be <key id>:<32 bytes in base64>, as \`echo "k1:$(openssl rand -base64 32)"\` prints one`;

export async function seal({ current }: Keyring, place: SealedPlace, text: string): Promise<Sealed> {
  return { sealed: `${FORM}.${await encrypt(current.key, text, about(place))}`, keyId: current.id };
}

/** The value, or why it can't be had, in words. */
export async function open(
  keyring: Keyring,
  place: SealedPlace,
  { sealed, keyId }: Sealed,
): Promise<Result<string, string>> {
  const key = keyOf(keyring, keyId);
  if (!key) return err(unknownKey(keyring, keyId));
  const [form] = sealed.split(".", 1);
  if (form !== FORM)
    return err(`it is sealed in form \`${form?.slice(0, 10)}\`, which this version does not know`);
  try {
    return ok(await decrypt(key.key, sealed.slice(FORM.length + 1), about(place)));
  } catch {
    // The runtime says no more than that it failed; saying which part would only help somebody who tries.
    return err(
      `the key \`${keyId}\` does not open it: another key has that id, or the row was changed or moved`,
    );
  }
}

/** Whether control has the key that a row was sealed with; else why not, in words. */
export const lacksKey = (keyring: Keyring, keyId: string): string | null =>
  keyOf(keyring, keyId) ? null : unknownKey(keyring, keyId);

const keyOf = ({ current, before }: Keyring, id: string): SealingKey | undefined =>
  [current, before].find((key) => key?.id === id) ?? undefined;

function unknownKey({ current, before }: Keyring, keyId: string): string {
  const has = before ? `\`${current.id}\` and \`${before.id}\`` : `\`${current.id}\``;
  return `it is sealed under the key \`${keyId}\`, and control has ${has}: put that key back, or set the value again`;
}

const about = ({ purpose, owner, name }: SealedPlace): string =>
  JSON.stringify(["sluice", FORM, purpose, owner, name]);
