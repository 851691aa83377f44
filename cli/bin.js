#!/usr/bin/env node
// Plain JavaScript on purpose: it must run, and say what is missing, on a Node that can't run TypeScript.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import * as module from "node:module";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const main = join(here, "main.ts");
/** Halves the start. In the user's own folder: compiled code from a shared temporary one could be anybody's. */
const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "sluice", "compiled");

/** The Node that `npm ci` put beside the product (its `node` dependency). */
const bundled = [join(here, "../node_modules/node/bin/node"), join(here, "../../node/bin/node")].find(
  (file) => existsSync(file),
);

if (!existsSync(main)) {
  // The package has the bundle in the sources' place. Node 20 has no such cache.
  module.enableCompileCache?.(cache);
  await import("../dist/cli/sluice.mjs");
} else if (process.features.typescript) {
  module.enableCompileCache(cache);
  const { runProcess } = await import(main);
  await runProcess();
} else if (bundled) {
  const env = { NODE_COMPILE_CACHE: cache, ...process.env };
  const child = spawn(bundled, [main, ...process.argv.slice(2)], { stdio: "inherit", env });
  // The terminal sends Ctrl-C to both; a plain `kill` reaches only this one. The child decides how to end.
  process.on("SIGINT", () => {});
  for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => {
    process.exitCode = code ?? (signal === "SIGKILL" ? 137 : 1);
  });
} else {
  process.stderr.write(
    `sluice needs Node 22.18 or newer (this is ${process.version} at ${process.execPath}).\n` +
      "Next: run `npm ci` in Sluice's folder, which brings its own Node 24, or install Node 24.\n",
  );
  process.exitCode = 1;
}
