#!/usr/bin/env node
// Plain JavaScript on purpose: it runs on a Node that can't run TypeScript, and sets what must be set before the real start.
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
/** The Node that `npm ci` put beside the product (its `node` dependency). */
const bundled = [join(here, "../node_modules/node/bin/node"), join(here, "../../node/bin/node")].find(
  (file) => existsSync(file),
);
const node = process.features.typescript ? process.execPath : bundled;

if (!node) {
  process.stderr.write(
    `the agent needs Node 22.18 or newer (this is ${process.version} at ${process.execPath}).\n` +
      "Next: run `npm ci` in Sluice's folder, which brings its own Node 24, or install Node 24.\n",
  );
  process.exit(1);
}

// Resident memory with ten instances: 121 MB as it is, 92 MB from the compile cache (nothing to strip at the start), 82 MB
// with small young generations, too, and 7 MB less with small code: an agent makes little garbage, and is in no hurry.
const args = [
  "--max-semi-space-size=1",
  "--optimize-for-size",
  join(here, "main.ts"),
  ...process.argv.slice(2),
];
const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "sluice", "compiled");
const env = { NODE_COMPILE_CACHE: cache, ...process.env };

if (process.execve) {
  // The same process goes on, so that signals and pid are the agent's own.
  process.removeAllListeners("warning");
  process.execve(node, [node, ...args], env);
} else {
  const { spawn } = await import("node:child_process");
  const child = spawn(node, args, { stdio: "inherit", env });
  process.on("SIGINT", () => {});
  process.on("SIGTERM", () => child.kill("SIGTERM"));
  child.on("exit", (code) => {
    process.exitCode = code ?? 1;
  });
}
