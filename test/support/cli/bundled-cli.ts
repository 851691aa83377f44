import { mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import path from "node:path";
import { bundleCli } from "../../../local/bundle-cli.ts";
import { BUNDLED_CLI } from "./run-cli.ts";

const DIST = path.resolve(import.meta.dirname, "../../../dist");
/** Always the same place: what Node compiled of it is found again in the next run. */
const FOLDER = path.join(DIST, "bundled-cli");

/**
 * Bundles the command line as its package does, once for all tests that run it as a process: it starts with a third of the
 * processor time that its sources take.
 */
export default async function setup(): Promise<void> {
  if (process.env[BUNDLED_CLI] !== undefined) return;
  await mkdir(path.join(FOLDER, "parts"), { recursive: true });
  const draft = await mkdtemp(path.join(DIST, "draft-"));
  try {
    await bundleCli(draft);
    // Another run may be reading: each file is whole at any time, and the first of them comes last.
    const files = (await readdir(draft, { recursive: true })).filter((name) => name.endsWith(".mjs"));
    for (const name of files.sort(startLast)) await rename(path.join(draft, name), path.join(FOLDER, name));
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
  process.env[BUNDLED_CLI] = path.join(FOLDER, START);
}

const START = "sluice.mjs";
const startLast = (a: string, b: string): number => Number(a === START) - Number(b === START);
