/**
 * Bundles the agent as one file: `npm run build:agent` writes `dist/agent.mjs`. A host needs that file and a Node 22.18 or
 * newer, no packages beside it; and without what the packages bring along unused, it keeps 10 MB less resident.
 */
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const ROOT = path.join(import.meta.dirname, "..");

/** Writes the bundle to a file. */
export async function bundleAgent(outfile: string): Promise<void> {
  await build({
    entryPoints: [path.join(ROOT, "agent/main.ts")],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node22.18",
    // Nobody debugs in it, but stack traces are to name functions.
    minify: true,
    keepNames: true,
    // commander and ws are CommonJS, and ask for Node's own modules.
    banner: {
      js: `import { createRequire } from "node:module"; const require = createRequire(import.meta.url);`,
    },
    // Optional native parts of ws, which does without.
    external: ["bufferutil", "utf-8-validate"],
    logLevel: "error",
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await bundleAgent(path.join(ROOT, "dist/agent.mjs"));
