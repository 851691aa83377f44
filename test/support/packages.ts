import { globSync, readFileSync } from "node:fs";

const IMPORT = /^(?:import|export) (?!type )(?:[^;"=]* from )?"([^".:][^":]*)";/gm;

/** What the modules of these folders import from packages: `hono`, `hono/http-exception`, `drizzle-orm/d1`. */
export function packagesOf(folders: readonly string[]): string[] {
  const files = globSync(folders.map((folder) => `${folder}/**/*.{ts,tsx}`));
  const names = files.flatMap((file) =>
    [...readFileSync(file, "utf8").matchAll(IMPORT)].map(([, name]) => name ?? ""),
  );
  return [...new Set(names)].filter((name) => !name.startsWith("vitest")).sort();
}
