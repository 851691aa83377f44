import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import path from "node:path";
import { bundleAgent } from "../../../local/bundle-agent.ts";

const DIST = path.resolve(import.meta.dirname, "../../../dist");
/** Always the same place: what Node compiled of it is found again in the next run. */
const FOLDER = path.join(DIST, "bundled-agent");

let bundled: Promise<string> | undefined;

/** The agent's bundle, made once: it starts with less than half of the processor time that its sources take. */
export function bundledAgent(): Promise<string> {
  bundled ??= bundle();
  return bundled;
}

/** For who starts it. */
export const COMPILED = { NODE_COMPILE_CACHE: path.join(FOLDER, "compiled") };

async function bundle(): Promise<string> {
  await mkdir(FOLDER, { recursive: true });
  const draft = await mkdtemp(path.join(DIST, "draft-"));
  const file = path.join(FOLDER, "agent.mjs");
  try {
    await bundleAgent(path.join(draft, "agent.mjs"));
    // Another run may be reading.
    await rename(path.join(draft, "agent.mjs"), file);
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
  return file;
}
