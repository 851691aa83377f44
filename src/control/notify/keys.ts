import { err, ok, type Result } from "../../domain/result.ts";
import { toBase64 } from "../bytes.ts";
import { type Keyring, open, type Sealed, type SealedPlace, seal } from "../secrets/seal.ts";

/** What only the sender knows of a target, sealed as one value. */
export interface TargetKeys {
  /** Where it really is. */
  readonly url: string;
  readonly slack?: SlackKeys;
  readonly github?: GitHubKeys;
  /** Of a collector of traces: what is sent along. */
  readonly headers?: Readonly<Record<string, string>>;
  /** `whsec_…`: newest first; an older one is signed with until its time. None: the kind signs nothing. */
  readonly secrets: readonly { readonly secret: string; readonly until: number | null }[];
}

/** Of a Slack app's bot. */
export interface SlackKeys {
  readonly token: string;
  readonly channel: string;
  /** By it Slack signs what is pressed. */
  readonly signingSecret: string;
}

/** Of a repository at GitHub: what lets in, a token or an app, and what is written there. */
export interface GitHubKeys {
  /** Base of its REST API. */
  readonly api: string;
  /** `owner/name`. */
  readonly repository: string;
  readonly token?: string | undefined;
  readonly app?: GitHubAppKeys | undefined;
  readonly deployment: boolean;
  readonly commitStatus: boolean;
}
interface GitHubAppKeys {
  /** Its id, or client id. */
  readonly id: string;
  readonly installation: number;
  /** PEM, PKCS #8. */
  readonly privateKey: string;
}

/** How long messages carry the signature of the secret before, too. */
const OVERLAP_MS = 24 * 3_600_000;
const SECRET_BYTES = 32;

export const placeOf = (webhookId: string): SealedPlace => ({
  purpose: "webhook",
  owner: webhookId,
  name: "keys",
});

/** As Standard Webhooks has it: 24 to 64 random bytes. */
export const newSigningSecret = (): string =>
  `whsec_${toBase64(crypto.getRandomValues(new Uint8Array(SECRET_BYTES)))}`;

export const sealKeys = (keyring: Keyring, webhookId: string, keys: TargetKeys): Promise<Sealed> =>
  seal(keyring, placeOf(webhookId), JSON.stringify(keys));

export async function openKeys(
  keyring: Keyring,
  row: Sealed & { readonly id: string },
): Promise<Result<TargetKeys, string>> {
  const opened = await open(keyring, placeOf(row.id), row);
  // Written by `sealKeys`, and authenticated.
  return opened.ok ? ok(JSON.parse(opened.value) as TargetKeys) : err(opened.error);
}

/** With another secret in front. Of those before only the newest stays, for a day: nobody signs with three. */
export function rotated(keys: TargetKeys, secret: string, now: number): { keys: TargetKeys; until: number } {
  const until = now + OVERLAP_MS;
  const [before] = keys.secrets;
  const secrets = [{ secret, until: null }, ...(before ? [{ secret: before.secret, until }] : [])];
  return { keys: { ...keys, secrets }, until };
}

export const secretsAt = (keys: TargetKeys, now: number): string[] =>
  keys.secrets.filter(({ until }) => until === null || until > now).map(({ secret }) => secret);
