import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BUNDLED, bundleWorker } from "../../../local/bundle.ts";

/** Bundles both Workers once for every stack of this run: forty of them took a tenth of its processor time. */
export default async function setup(): Promise<(() => Promise<void>) | undefined> {
  if (process.env[BUNDLED] !== undefined) return undefined;
  const folder = await mkdtemp(join(tmpdir(), "sluice-workers-"));
  for (const name of ["control", "edge"] as const) {
    await writeFile(join(folder, `${name}.mjs`), await bundleWorker(name));
  }
  process.env[BUNDLED] = folder;
  return async () => {
    delete process.env[BUNDLED];
    await rm(folder, { recursive: true, force: true });
  };
}
