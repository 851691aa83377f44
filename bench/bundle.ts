/** How large the edge is as wrangler deploys it, and how long workerd takes from its bytes to its first answer. */
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { compileFunction } from "node:vm";
import { gzipSync } from "node:zlib";
import { type BenchResult, median, resultOf, rounded } from "./result.ts";

const execute = promisify(execFile);
const ROOT = join(import.meta.dirname, "..");
const WRANGLER = join(ROOT, "node_modules/wrangler/bin/wrangler.js");
const STARTS = 21;

export async function run(): Promise<BenchResult> {
  const directory = mkdtempSync(join(tmpdir(), "sluice-bundle-"));
  try {
    const args = [WRANGLER, "deploy", "--dry-run", "--env", "edge", "--outdir", directory];
    await execute(process.execPath, args, {
      cwd: ROOT,
      env: { ...process.env, WRANGLER_SEND_METRICS: "false" },
    });
    const file = readdirSync(directory).find((name) => name.endsWith(".js"));
    if (file === undefined) throw new Error(`wrangler wrote no .js into ${directory}`);
    const source = readFileSync(join(directory, file), "utf8");
    const figures = {
      gzipKb: rounded(gzipSync(source).length / 1_000, 1),
      rawKb: rounded(source.length / 1_000, 1),
      startMs: rounded(startMs(source)),
    };
    return resultOf("bundle", figures, { gzipKb: { atMost: 25 }, startMs: { atMost: 10 } });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Compiling and running the module's top level in a fresh function: what an isolate does before its first request. */
function startMs(source: string): number {
  const body = source.replace(/export\s*\{[\s\S]*?\};?/g, "");
  const times = Array.from({ length: STARTS }, (_, i) => {
    const startedAt = performance.now();
    // A comment of its own keeps V8's compilation cache out of it.
    compileFunction(`${body}\n// start ${i}`)();
    return performance.now() - startedAt;
  });
  return median(times);
}
