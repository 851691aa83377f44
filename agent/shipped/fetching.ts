import { createHash } from "node:crypto";
import { IMAGE_LIMITS, imageManifestSchema, shippedImage } from "../../src/protocol/images.ts";
import { type Download, download, downloadSmall, NotThere } from "../control/download.ts";
import { failed, type Outcome } from "../outcome.ts";
import type { PulledImage, Runtime } from "../runtime/runtime.ts";
import { type Endpoint, type Source, serveImage } from "./endpoint.ts";

/** A runtime that also has images which are in no registry: they come from control. */
export function fetchingFromControl(runtime: Runtime, control: Omit<Download, "signal">): Runtime {
  if (runtime.name !== "docker") return runtime;
  return {
    ...runtime,
    async pull(source, onProgress, signal) {
      const shipped = shippedImage(source.image);
      if (!shipped) return runtime.pull(source, onProgress, signal);
      const from = sourceOf({ ...control, signal }, shipped.digest);
      const endpoint = await serveImage(shipped.app, shipped.digest, from);
      try {
        const at = { ...source, from: endpoint.repository };
        return explained(source.image, await runtime.pull(at, onProgress, signal), endpoint);
      } finally {
        await endpoint.close();
      }
    },
  };
}

function sourceOf(at: Download, digest: string): Source {
  const path = `/agent/v1/images/${digest}`;
  let manifest: ReturnType<Source["manifest"]> | undefined;
  const read = async () => {
    const bytes = await downloadSmall(at, path, IMAGE_LIMITS.manifestBytes);
    const has = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    if (has !== digest) throw new Error(`control sent the manifest ${has} for ${digest}`);
    const text = bytes.toString("utf8");
    return { text, parsed: imageManifestSchema.parse(JSON.parse(text)) };
  };
  return {
    manifest: () => (manifest ??= read()),
    blob: (blob, range) => download(at, `${path}/blobs/${blob}`, range),
  };
}

/** The engine only knows that a registry failed: why is known here. */
function explained(image: string, outcome: Outcome<PulledImage>, endpoint: Endpoint): Outcome<PulledImage> {
  if (outcome.ok) return outcome;
  const { trouble, wasAsked } = endpoint;
  if (trouble instanceof NotThere)
    return failed("image_not_found", `${image} can't be fetched: ${trouble.message}`);
  if (trouble) return failed("image_pull_failed", `${image} can't be fetched: ${trouble.message}`);
  if (wasAsked || outcome.error.code !== "image_pull_failed") return outcome;
  return failed(
    "image_pull_failed",
    `${outcome.error.message}. The engine fetches an image without a registry from this agent, on 127.0.0.1, and did not reach it: is it rootless, in a machine of its own, or the agent in a container with a network of its own? Then such hosts need a registry`,
  );
}
