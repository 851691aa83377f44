import { readFileSync } from "node:fs";
import { z } from "zod";

const manifest = readFileSync(new URL("../package.json", import.meta.url), "utf8");

/** Of the package this agent came with; control shows it per host. */
export const AGENT_VERSION = z.object({ version: z.string() }).parse(JSON.parse(manifest)).version;
