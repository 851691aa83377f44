/**
 * Bundles the agent as one file: `npm run build:agent` writes `dist/agent.mjs`. A host needs that file and a Node 22.18 or
 * newer, no packages beside it, and it starts without a cache of compiled sources.
 *
 * Beside it go the texts that control serves to hosts, as modules of its Worker: one deploy, one version of both.
 */
import { chmod, copyFile, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { bundleServedCli, oneLanguage } from "./bundle-cli.ts";
import { bundleDocs } from "./bundle-docs.ts";
import { bundlePages } from "./bundle-pages.ts";

const ROOT = path.join(import.meta.dirname, "..");

/**
 * What Node is to be started with, and is when the bundle is executed as a program: small young generations and small code,
 * since an agent makes little garbage and is never in a hurry. Together 14 MB less resident.
 */
export const NODE_FLAGS = ["--max-semi-space-size=1", "--optimize-for-size"];

/** commander and ws are CommonJS, and ask for Node's own modules. */
const PRELUDE = `#!/usr/bin/env -S node ${NODE_FLAGS.join(" ")}
import { createRequire } from "node:module"; const require = createRequire(import.meta.url);`;

/** Writes the bundle to a file. */
export async function bundleAgent(outfile: string): Promise<void> {
  await build({
    entryPoints: [path.join(ROOT, "agent/main.ts")],
    outfile,
    // Paths are named from here, so that the same sources make the same bundle wherever they lie.
    absWorkingDir: ROOT,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node22.18",
    // Nobody debugs in it, but stack traces are to name functions.
    minify: true,
    keepNames: true,
    banner: { js: PRELUDE },
    // Optional native parts of ws, which does without.
    plugins: [oneLanguage],
    external: ["bufferutil", "utf-8-validate"],
    logLevel: "error",
  });
  await chmod(outfile, 0o755);
}

/** What control serves, each a module of its Worker. */
const TEXTS = [
  "docs.txt",
  "agent.txt",
  "install.txt",
  "cli.txt",
  "cli-install.txt",
  "page-style.txt",
  "page-script.txt",
];

/** Writes what `src/control/hosts/bundle.ts` imports: agent, command line, their installers. Each by a rename, since others may read them. */
export async function bundleForControl(): Promise<void> {
  const dist = path.join(ROOT, "dist");
  await mkdir(dist, { recursive: true });
  const drafts = await mkdtemp(path.join(dist, "draft-"));
  try {
    const draft = (name: string) => path.join(drafts, name);
    await bundleAgent(draft("agent.mjs"));
    await copyFile(draft("agent.mjs"), draft("agent.txt"));
    const script = await readFile(path.join(ROOT, "agent/install.sh"), "utf8");
    const { devDependencies } = JSON.parse(await readFile(path.join(ROOT, "package.json"), "utf8"));
    await writeFile(draft("install.txt"), script.replaceAll("@NODE_VERSION@", devDependencies.node));
    await bundleServedCli(draft("cli.txt"));
    await copyFile(path.join(ROOT, "cli/install.sh"), draft("cli-install.txt"));
    await bundlePages({ style: draft("page-style.txt"), script: draft("page-script.txt") });
    await bundleDocs(draft("docs.txt"));
    for (const name of [...TEXTS, "agent.mjs"]) await rename(draft(name), path.join(dist, name));
  } finally {
    await rm(drafts, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await bundleForControl();
