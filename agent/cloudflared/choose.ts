import type { Engine } from "../runtime/docker/engine.ts";
import type { Connectors } from "./connectors.ts";
import { ContainerConnectors } from "./container.ts";
import { hasUnit, ownProcess, ownUnit } from "./launcher.ts";
import { findCloudflared, ProcessConnectors, tooOld } from "./process.ts";

export interface CloudflaredOptions {
  directory: string;
  /** Host id. */
  host: string;
  /** The Docker engine, on hosts that have one. */
  engine?: Engine | undefined;
  /** Path of the program; absent: the first on PATH. */
  program?: string | undefined;
  image?: string | undefined;
  /** Whether the unit of install.sh is there; looked for where it isn't said. */
  unit?: boolean;
}

/** What runs cloudflared here; or why nothing can. */
export type Choice = { connectors: Connectors } | { problem: string };

/**
 * The unit where it is installed, else a process where there is a program that is new enough, else a container where there is
 * an engine. Unless one of the other kind runs already: it carries traffic, and nobody would tell it to end.
 */
export async function chooseConnectors(options: CloudflaredOptions): Promise<Choice> {
  const { directory, host, engine, image, unit = await hasUnit() } = options;
  const program = await findCloudflared(options.program);
  const old = program && (await tooOld(program));
  const launcher = unit ? ownUnit() : ownProcess(program ?? "cloudflared");
  const asProcess = new ProcessConnectors({ launcher, directory });
  const asContainer = engine && new ContainerConnectors({ engine, host, image });
  for (const kind of [asProcess, asContainer])
    if (kind && (await isRunning(kind))) return { connectors: kind };
  if (program && !old) return { connectors: asProcess };
  return asContainer ? { connectors: asContainer } : { problem: old ?? NO_CLOUDFLARED };
}

const NO_CLOUDFLARED =
  "this host has a tunnel but nothing to run it with: install cloudflared, or name it with --cloudflared <path>";

async function isRunning(kind: Connectors): Promise<boolean> {
  const listed = await kind.list();
  return listed.ok && listed.value.some(({ running, retiring }) => running && !retiring);
}
