import { mkdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { build } from "esbuild";

const SOURCES = path.join(import.meta.dirname, "src");
const PROGRAMS = ["main", "migrate", "healthcheck"];

/** pg and redis are CommonJS and call `require` for Node's own modules, which a module has to be given. */
const REQUIRE = `import { createRequire } from "node:module"; const require = createRequire(import.meta.url);`;

/** One file per program, with all it needs, and a package.json to start it by. `step` is fixed in them for good. */
export async function bundle(directory: string, step: string | number): Promise<void> {
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });
  await build({
    entryPoints: PROGRAMS.map((name) => path.join(SOURCES, `${name}.ts`)),
    outdir: directory,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node24",
    banner: { js: REQUIRE },
    define: { "process.env.SCHEMA_STEP": JSON.stringify(String(step)) },
    // An optional faster driver that nobody installed.
    external: ["pg-native"],
    logLevel: "warning",
  });
  const manifest = { name: "shop", private: true, type: "module", scripts: { start: "node main.js" } };
  await writeFile(path.join(directory, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
}

if (import.meta.main) await bundle(path.join(import.meta.dirname, "dist"), process.env.SCHEMA_STEP ?? 3);
