import { createHash, randomBytes } from "node:crypto";
import type { Facts, WorkerFacts } from "./facts.ts";

/** The Workers' secrets: which there must be, which are missing, and new ones. */

const CONTROL = ["SECRETS_KEY", "SHIELD_KEY", "ADMIN_TOKEN_SHA256", "CLOUDFLARE_API_TOKEN"] as const;
const EDGE = ["SHIELD_KEY"] as const;
const EDGE_ACCESS = ["ACCESS_CLIENT_ID", "ACCESS_CLIENT_SECRET"] as const;

export type SecretName = (typeof CONTROL)[number] | (typeof EDGE_ACCESS)[number] | "SECRETS_KEY_BEFORE";

export interface Missing {
  readonly control: readonly SecretName[];
  readonly edge: readonly SecretName[];
}

/** One that is there is never replaced: a new SECRETS_KEY would lose every app secret, a new admin token the people. */
export function missingSecrets({ control, edge }: Facts, access: boolean): Missing {
  const lacks = (worker: WorkerFacts | null, name: SecretName) =>
    !worker?.bindings.some((one) => one.type === "secret_text" && one.name === name);
  const wantedOfEdge: readonly SecretName[] = access ? [...EDGE, ...EDGE_ACCESS] : EDGE;
  const wantedOfControl: readonly SecretName[] = access ? [...CONTROL, "ACCESS_CLIENT_ID"] : CONTROL;
  const missing = {
    control: new Set(wantedOfControl.filter((name) => lacks(control, name))),
    edge: new Set(wantedOfEdge.filter((name) => lacks(edge, name))),
  };
  // No answer shows a secret, so what both must have alike is made anew when one side lacks it.
  if (missing.control.has("SHIELD_KEY") || missing.edge.has("SHIELD_KEY")) {
    missing.control.add("SHIELD_KEY");
    missing.edge.add("SHIELD_KEY");
  }
  return { control: [...missing.control], edge: [...missing.edge] };
}

export const newShieldKey = (): string => randomBytes(32).toString("base64");
/** `<key id>:<32 bytes, base64>`; the id tells sealed values of two keys apart. */
export const newSecretsKey = (): string =>
  `k${randomBytes(4).toString("hex")}:${randomBytes(32).toString("base64")}`;
export const isSecretsKey = (text: string): boolean => /^[a-z0-9]{1,32}:[A-Za-z0-9+/]{43}=$/.test(text);
export const newAdminToken = (): string => `slu_${randomBytes(32).toString("base64url")}`;
export const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
