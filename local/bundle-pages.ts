import path from "node:path";
import { build } from "esbuild";

const ROOT = path.join(import.meta.dirname, "..");

/** Writes the pages' one stylesheet and one script, minified. */
export async function bundlePages(to: { style: string; script: string }): Promise<void> {
  const bundle = (entry: string, outfile: string, loader: "css" | "js") =>
    build({
      stdin: {
        contents: `${loader === "css" ? "@" : ""}import "./${entry}";`,
        resolveDir: ROOT,
        loader,
      },
      outfile,
      absWorkingDir: ROOT,
      bundle: true,
      minify: true,
      format: "iife",
      target: ["chrome120", "firefox120", "safari17"],
      logLevel: "error",
    });
  await Promise.all([
    bundle("browser/style.css", to.style, "css"),
    bundle("browser/live.ts", to.script, "js"),
  ]);
}
