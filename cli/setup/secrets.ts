import { createHash, randomBytes } from "node:crypto";
import type { AccountFacts, WorkerFacts } from "./facts.ts";

/** The Workers' secrets: which there must be, which are missing, and new ones. */

const CONTROL = ["SECRETS_KEY", "SHIELD_KEY", "ADMIN_TOKEN_SHA256", "CLOUDFLARE_API_TOKEN"] as const;
const EDGE = ["SHIELD_KEY"] as const;
/** Control asks instances the way the edge does. */
const ACCESS = ["ACCESS_CLIENT_ID", "ACCESS_CLIENT_SECRET"] as const;
/** The same on both Workers. No answer shows a secret, so when one side lacks one of these it is made anew for both. */
const COMMON: readonly SecretName[] = ["SHIELD_KEY", ...ACCESS];

export type SecretName = (typeof CONTROL)[number] | (typeof ACCESS)[number] | "SECRETS_KEY_BEFORE";

export interface Missing {
  readonly control: readonly SecretName[];
  readonly edge: readonly SecretName[];
}

/** One that is there is never replaced: a new SECRETS_KEY would lose every app secret, a new admin token the people. */
export function missingSecrets({ control, edge, serviceToken }: AccountFacts, access: boolean): Missing {
  const lacks = (worker: WorkerFacts | null, name: SecretName) =>
    !worker?.bindings.some((one) => one.type === "secret_text" && one.name === name);
  const extra = access ? ACCESS : [];
  // A service token that somebody removed opens nothing any more, though the Workers still have it.
  const isVoid = (name: SecretName) => serviceToken === null && name.startsWith("ACCESS_");
  const isMissing = (worker: WorkerFacts | null) => (name: SecretName) =>
    isVoid(name) || (COMMON.includes(name) ? lacks(control, name) || lacks(edge, name) : lacks(worker, name));
  return {
    control: [...CONTROL, ...extra].filter(isMissing(control)),
    edge: [...EDGE, ...extra].filter(isMissing(edge)),
  };
}

export const newShieldKey = (): string => randomBytes(32).toString("base64");
/** `<key id>:<32 bytes, base64>`; the id tells sealed values of two keys apart. */
export const newSecretsKey = (): string =>
  `k${randomBytes(4).toString("hex")}:${randomBytes(32).toString("base64")}`;
export const isSecretsKey = (text: string): boolean => /^[a-z0-9]{1,32}:[A-Za-z0-9+/]{43}=$/.test(text);
export const newAdminToken = (): string => `slu_${randomBytes(32).toString("base64url")}`;
export const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
