import type { Engine } from "../runtime/docker/engine.ts";
import type { Connectors } from "./connectors.ts";
import { containerConnectors } from "./container.ts";
import { findCloudflared, processConnectors } from "./process.ts";

export interface CloudflaredOptions {
  directory: string;
  /** Host id. */
  host: string;
  /** The Docker engine, on hosts that have one. */
  engine?: Engine | undefined;
  /** Path of the program; absent: the first on PATH. */
  program?: string | undefined;
  image?: string | undefined;
}

/**
 * A process where there is the program, else a container where there is an engine. Unless one of the other kind runs already:
 * it carries traffic, and nobody would tell it to end.
 */
export async function chooseConnectors(options: CloudflaredOptions): Promise<Connectors | undefined> {
  const { directory, host, engine, image } = options;
  const program = await findCloudflared(options.program);
  const asProcess = processConnectors({ program: program ?? "cloudflared", directory });
  const asContainer = engine && containerConnectors({ engine, host, image });
  for (const kind of [asProcess, asContainer]) if (kind && (await isRunning(kind))) return kind;
  return program ? asProcess : asContainer;
}

async function isRunning(kind: Connectors): Promise<boolean> {
  const listed = await kind.list();
  return listed.ok && listed.value.some(({ running, retiring }) => running && !retiring);
}
