import { buffer } from "node:stream/consumers";
import { pack } from "tar-stream";
import type { Housing } from "./container.ts";
import type { Engine } from "./engine.ts";

/** Puts a spec's texts into a container that was made and not started. Readable by every user in it, since any may be its own. */
export async function putFiles(engine: Engine, name: string, { container }: Housing): Promise<void> {
  const files = Object.entries(container.files ?? {});
  if (files.length === 0) return;
  const archive = pack();
  for (const [path, text] of files) archive.entry({ name: path.slice(1), mode: 0o644 }, text);
  archive.finalize();
  await engine.bytes("PUT", `/containers/${name}/archive`, {
    query: { path: "/" },
    tar: await buffer(archive),
    signal: AbortSignal.timeout(PUT_MS),
  });
}

const PUT_MS = 10_000;
