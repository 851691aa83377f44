import { readFileSync } from "node:fs";

const toml = readFileSync(new URL("../../wrangler.toml", import.meta.url), "utf8");

/** The one in wrangler.toml: what runs in tests is what is deployed. */
export const COMPATIBILITY_DATE = /^compatibility_date = "([0-9-]+)"$/m.exec(toml)?.[1] ?? "";
