import type { ControlEnv } from "../env.ts";
import { type CloudflareSettings, createSdk, type Sdk, settingsOf } from "./api.ts";

/** The account, as control may change it. */
export interface Cloudflare {
  readonly sdk: Sdk;
  readonly settings: CloudflareSettings;
}

/** Null: this control plane makes nothing at Cloudflare. */
export function openCloudflare(env: ControlEnv): Cloudflare | null {
  const settings = settingsOf(env);
  return settings && { sdk: createSdk(settings), settings };
}
