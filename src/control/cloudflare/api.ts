import { BaseRecords } from "cloudflare/resources/dns/records";
import { BaseRoutes } from "cloudflare/resources/workers/routes";
import { BaseApplications } from "cloudflare/resources/zero-trust/access/applications/applications";
import { BasePolicies } from "cloudflare/resources/zero-trust/access/policies";
import { BaseServiceTokens } from "cloudflare/resources/zero-trust/access/service-tokens";
import { BaseCloudflared } from "cloudflare/resources/zero-trust/tunnels/cloudflared/cloudflared";
import { BaseConfigurations } from "cloudflare/resources/zero-trust/tunnels/cloudflared/configurations";
import { BaseConnections } from "cloudflare/resources/zero-trust/tunnels/cloudflared/connections";
import { BaseToken } from "cloudflare/resources/zero-trust/tunnels/cloudflared/token";
import { BaseZones } from "cloudflare/resources/zones/zones";
import { createClient } from "cloudflare/tree-shakable";
import type { ControlEnv } from "../env.ts";

/** What control needs to make anything at Cloudflare. */
export interface CloudflareSettings {
  readonly apiToken: string;
  readonly account: string;
  readonly slotZone: string;
  readonly slotZoneId: string;
  /** The edge's Worker. */
  readonly worker: string;
  readonly apiUrl: string | undefined;
  /** The service token that opens slots behind Access; undefined: they are not behind it. */
  readonly accessClientId: string | undefined;
}

const NEEDED = [
  "CLOUDFLARE_API_TOKEN",
  "CLOUDFLARE_ACCOUNT_ID",
  "SLOT_ZONE",
  "SLOT_ZONE_ID",
  "EDGE_WORKER",
] as const;

/** Names of the bindings without which no tunnel can be made. */
export const missingSettings = (env: ControlEnv): string[] => NEEDED.filter((name) => !env[name]);

/** Null: this control plane makes nothing at Cloudflare. */
export function settingsOf(env: ControlEnv): CloudflareSettings | null {
  const { CLOUDFLARE_API_TOKEN, CLOUDFLARE_ACCOUNT_ID, SLOT_ZONE, SLOT_ZONE_ID, EDGE_WORKER } = env;
  if (!CLOUDFLARE_API_TOKEN || !CLOUDFLARE_ACCOUNT_ID || !SLOT_ZONE || !SLOT_ZONE_ID || !EDGE_WORKER)
    return null;
  return {
    apiToken: CLOUDFLARE_API_TOKEN,
    account: CLOUDFLARE_ACCOUNT_ID,
    slotZone: SLOT_ZONE,
    slotZoneId: SLOT_ZONE_ID,
    worker: EDGE_WORKER,
    apiUrl: env.CLOUDFLARE_API_URL,
    accessClientId: env.ACCESS_CLIENT_ID,
  };
}

const TIMEOUT_MS = 15_000;
/** Only what is used is bundled: the whole SDK is a hundred times as large. */
const RESOURCES = [
  BaseZones,
  BaseRecords,
  BaseRoutes,
  BaseCloudflared,
  BaseConfigurations,
  BaseConnections,
  BaseToken,
  BaseApplications,
  BasePolicies,
  BaseServiceTokens,
] as const;

export type Sdk = ReturnType<typeof createSdk>;

/** Without the SDK's own retries: an alarm tries again, and the wait is written down where a person can see it. */
export const createSdk = ({ apiToken, apiUrl }: CloudflareSettings) =>
  createClient({
    apiToken,
    baseURL: apiUrl ?? "https://api.cloudflare.com/client/v4",
    maxRetries: 0,
    timeout: TIMEOUT_MS,
    logLevel: "off",
    resources: RESOURCES,
  });
