#!/usr/bin/env node
// Plain JavaScript on purpose: it must run, and say what is missing, on a Node that can't run TypeScript.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const main = join(here, "main.ts");

/** The Node that `npm ci` put beside the product (its `node` dependency). */
const bundled = [join(here, "../node_modules/node/bin/node"), join(here, "../../node/bin/node")].find(
  existsSync,
);

if (process.features.typescript) {
  await import(main);
} else if (bundled) {
  const child = spawn(bundled, [main, ...process.argv.slice(2)], { stdio: "inherit" });
  // The terminal sends Ctrl-C to both; a plain `kill` reaches only this one. The child decides how to end.
  process.on("SIGINT", () => {});
  process.on("SIGTERM", () => child.kill("SIGTERM"));
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
