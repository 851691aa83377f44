import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";
import { bundleForControl } from "./bundle-agent.ts";

const ROOT = new URL("..", import.meta.url).pathname;

/** Variable that names a folder with both Workers bundled: whoever starts many stacks of the same sources bundles them once. */
export const BUNDLED = "SLUICE_BUNDLED_WORKERS";

/** Bundles one of the two Workers as wrangler does: a single ES module. */
export async function bundleWorker(name: "control" | "edge"): Promise<string> {
  const folder = process.env[BUNDLED];
  if (folder !== undefined) return readFile(join(folder, `${name}.mjs`), "utf8");
  if (name === "control") await bundleForControl();
  const result = await build({
    entryPoints: [join(ROOT, "src", name, "worker.ts")],
    bundle: true,
    format: "esm",
    target: "es2024",
    conditions: ["workerd", "worker", "browser"],
    external: ["cloudflare:*", "node:*"],
    loader: { ".txt": "text" },
    write: false,
    logLevel: "error",
  });
  const [output] = result.outputFiles;
  if (!output) throw new Error(`esbuild made nothing of the ${name} Worker`);
  return output.text;
}

/** The date that both Workers are deployed with, so that the local stack runs them alike. */
export async function compatibilityDate(): Promise<string> {
  const text = await readFile(join(ROOT, "wrangler.toml"), "utf8");
  const date = /^compatibility_date = "([^"]+)"/m.exec(text)?.[1];
  if (!date) throw new Error("wrangler.toml names no compatibility_date");
  return date;
}
