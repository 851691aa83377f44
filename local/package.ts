/**
 * What `npm pack` puts into the package besides its few sources (`files` in package.json): the command line and the client
 * in JavaScript, the client's types, and both Workers as wrangler bundles them, so that `sluice setup` works from it.
 */
import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { BUILT, sourcesHash } from "../cli/setup/wrangler-config.ts";
import { bundleCli } from "./bundle-cli.ts";

const ROOT = path.join(import.meta.dirname, "..");
const run = promisify(execFile);

async function bundleWithWrangler(which: "control" | "edge"): Promise<void> {
  const folder = path.join(ROOT, BUILT, which);
  const wrangler = path.join(ROOT, "node_modules/wrangler/bin/wrangler.js");
  const environment = which === "edge" ? "edge" : "";
  const args = ["deploy", "--dry-run", `--env=${environment}`, "--outdir", folder, "--minify"];
  await run(process.execPath, [wrangler, ...args], { cwd: ROOT });
  for (const name of await readdir(folder))
    if (!/\.(js|txt)$/.test(name)) await rm(path.join(folder, name), { recursive: true });
  await writeFile(path.join(folder, "sources"), sourcesHash(which));
}

/** The client's types and all that they name, as declarations. */
async function declareClient(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const config = path.join(folder, "tsconfig.json");
  await writeFile(config, JSON.stringify(CLIENT_TYPES));
  await run(path.join(ROOT, "node_modules/.bin/tsc"), ["-p", config], { cwd: ROOT });
  await rm(config);
  for (const name of await readdir(folder, { recursive: true })) {
    if (!name.endsWith(".d.ts")) continue;
    const file = path.join(folder, name);
    // Sources name each other by `.ts`; a package's declarations do by what would be run.
    await writeFile(file, (await readFile(file, "utf8")).replace(/(from "\.[^"]*)\.ts"/g, '$1.js"'));
  }
}

const CLIENT_TYPES = {
  extends: "../../tsconfig.json",
  compilerOptions: {
    types: ["node"],
    noEmit: false,
    declaration: true,
    emitDeclarationOnly: true,
    outDir: ".",
    rootDir: "../..",
  },
  files: ["../../src/client/index.ts"],
  include: [],
};

for (const folder of ["dist/cli", "dist/client", BUILT])
  await rm(path.join(ROOT, folder), { recursive: true, force: true });
await bundleCli(path.join(ROOT, "dist/cli"));
await declareClient(path.join(ROOT, "dist/client"));
await bundleWithWrangler("control");
await bundleWithWrangler("edge");
