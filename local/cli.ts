import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

const CLI = join(import.meta.dirname, "../cli/main.ts");

export interface CliRun {
  readonly code: number;
  /** What it wrote to stdout: with `--json`, one object. */
  readonly stdout: string;
  readonly ms: number;
}

/** Runs the real `sluice`, its words for people going to this process's stderr. */
export async function sluice(
  args: readonly string[],
  options: { readonly url: string; readonly token: string; readonly signal: AbortSignal },
): Promise<CliRun> {
  const began = Date.now();
  const child = spawn(process.execPath, [CLI, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, NODE_NO_WARNINGS: "1", SLUICE_URL: options.url, SLUICE_TOKEN: options.token },
    signal: options.signal,
  });
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    stdout += chunk;
  });
  const [code] = await once(child, "close");
  return { code: Number(code), stdout, ms: Date.now() - began };
}
