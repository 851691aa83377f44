/**
 * Bundles the command line: no TypeScript at run time, no packages beside it, Node 20 or newer.
 *
 * Twice: as the npm package's folder, in pieces, so that a command reads what it needs and no more; and as one file without
 * setup and teardown, which control serves to CI under `/cli.mjs`.
 */
import { chmod } from "node:fs/promises";
import path from "node:path";
import { type BuildOptions, build, type Plugin } from "esbuild";

const ROOT = path.join(import.meta.dirname, "..");
const HASHBANG = "#!/usr/bin/env node\n";
/** commander and yaml ask for Node's own modules as CommonJS does. */
const REQUIRE = `import { createRequire } from "node:module"; const require = createRequire(import.meta.url);`;

/** zod brings its messages in fifty languages; the product speaks one. */
export const oneLanguage: Plugin = {
  name: "one language",
  setup({ onLoad }) {
    onLoad({ filter: /zod[\\/]v4[\\/]locales[\\/]index\.js$/ }, () => ({
      contents: 'export { default as en } from "./en.js";',
    }));
  },
};

/** What needs the Workers and their migrations, which one file hasn't got. */
const withoutSetup: Plugin = {
  name: "without setup",
  setup({ onLoad }) {
    onLoad({ filter: /cli[\\/]setup[\\/](setup|teardown|wrangler)\.ts$/ }, () => ({
      contents: `import { CliError } from "../io/problem.ts";
const missing = () => {
  throw new CliError("usage", "this is the command line that control serves, and setup and teardown need the whole package", {
    title: "not in this command line",
    next: [{ command: "npx @sluice-edge/sluice setup", when: "to make, upgrade or remove Sluice in your Cloudflare account" }],
  });
};
export const setup = missing, teardown = missing, wranglerIn = missing;`,
      loader: "ts",
      resolveDir: path.join(ROOT, "cli/setup"),
    }));
  },
};

const shared = {
  absWorkingDir: ROOT,
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20.12",
  minify: true,
  keepNames: true,
  legalComments: "none",
  // It is `cli/packaged.ts` that runs them.
  define: { "import.meta.main": "false" },
  logLevel: "error",
} satisfies BuildOptions;

/** Writes `sluice.mjs` and the pieces that it loads into a folder. */
export async function bundleCli(folder: string): Promise<void> {
  await build({
    ...shared,
    entryPoints: {
      sluice: path.join(ROOT, "cli/packaged.ts"),
      client: path.join(ROOT, "src/client/index.ts"),
    },
    outdir: folder,
    outExtension: { ".js": ".mjs" },
    chunkNames: "parts/[name]-[hash]",
    splitting: true,
    banner: { js: REQUIRE },
    plugins: [oneLanguage],
  });
  await chmod(path.join(folder, "sluice.mjs"), 0o755);
}

/** Writes the one file. */
export async function bundleServedCli(outfile: string): Promise<void> {
  await build({
    ...shared,
    entryPoints: [path.join(ROOT, "cli/packaged.ts")],
    outfile,
    banner: { js: HASHBANG + REQUIRE },
    plugins: [oneLanguage, withoutSetup],
  });
  await chmod(outfile, 0o755);
}
