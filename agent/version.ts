import manifest from "../package.json" with { type: "json" };

/** Of the package this agent came with; control shows it per host. */
export const AGENT_VERSION: string = manifest.version;

/** Who asks: Cloudflare's Browser Integrity Check may refuse requests that don't say. */
export const USER_AGENT = `sluice-agent/${AGENT_VERSION}`;
