import { spawn } from "node:child_process";
import { once } from "node:events";
import { dirname, join } from "node:path";
import type { Home } from "./home.ts";

const CLI = join(import.meta.dirname, "../cli/main.ts");
/** Its sources are compiled once: half of what a start takes. */
const COMPILE_CACHE = join(import.meta.dirname, "../node_modules/.cache/sluice-cli");

export interface CliRun {
  readonly code: number;
  /** What it wrote to stdout: with `--json`, one object. */
  readonly stdout: string;
  readonly ms: number;
}

/** Runs the real `sluice` beside a home's `.sluice/`, its words for people going to this process's stderr. */
export async function sluice(
  args: readonly string[],
  options: { readonly home: Home; readonly signal: AbortSignal },
): Promise<CliRun> {
  const began = Date.now();
  // The caller's own control plane is none of this run's business: the home's file says where control and edge are.
  const { SLUICE_URL: _url, SLUICE_TOKEN: _token, ...env } = process.env;
  const child = spawn(process.execPath, [CLI, ...args], {
    cwd: dirname(options.home.dir),
    stdio: ["ignore", "pipe", "inherit"],
    env: { NODE_COMPILE_CACHE: COMPILE_CACHE, ...env, NODE_NO_WARNINGS: "1" },
    signal: options.signal,
  });
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    stdout += chunk;
  });
  const [code] = await once(child, "close");
  return { code: Number(code), stdout, ms: Date.now() - began };
}
