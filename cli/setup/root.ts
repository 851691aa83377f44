import { existsSync } from "node:fs";
import { dirname, join } from "node:path";

/**
 * The folder that has `wrangler.toml`, `migrations/` and what the Workers are made of: the checkout, or the installed
 * package, wherever in it this file lies. Throws when there is none above it, which is a bug of the packaging.
 */
export const ROOT = rootAbove(import.meta.dirname);

function rootAbove(folder: string): string {
  if (existsSync(join(folder, "wrangler.toml"))) return folder;
  const above = dirname(folder);
  if (above === folder) throw new Error("no wrangler.toml above the command line's own files");
  return rootAbove(above);
}
