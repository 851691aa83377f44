import { SHIPPED, shippedImage } from "../../../src/protocol/images.ts";
import type { Engine } from "./engine.ts";

/**
 * As the engine calls an image. It gives a name with a digest only to what it pulled under that name, so one that came without a
 * registry has the digest for a tag: `sluice.local/shop@sha256:5f…` is its `sluice.local/shop:5f…`.
 */
export function engineRef(image: string): string {
  const shipped = shippedImage(image);
  return shipped ? `${SHIPPED}/${shipped.app}:${shipped.digest.slice(7)}` : image;
}

/** Gives what was pulled under a passing name the one that lasts, and takes the passing one away. */
export async function rename(engine: Engine, from: string, image: string): Promise<void> {
  const { app, digest } = shippedImage(image) ?? {};
  const query = { repo: `${SHIPPED}/${app}`, tag: digest?.slice(7) ?? "" };
  await engine.bytes("POST", `/images/${encodeURIComponent(from)}/tag`, { query });
  await engine.bytes("DELETE", `/images/${encodeURIComponent(from)}`, { query: { noprune: "1" } });
}
