import manifest from "../package.json" with { type: "json" };

/** Of the package this agent came with; control shows it per host. */
export const AGENT_VERSION: string = manifest.version;
