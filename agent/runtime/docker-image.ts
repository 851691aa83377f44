import { z } from "zod";
import { done, failed, type Outcome, words } from "../outcome.ts";
import { type Engine, EngineError, EngineUnavailable } from "./engine.ts";
import { type ImageRef, parseImageRef } from "./image-ref.ts";
import { registryAuth } from "./registry-auth.ts";
import type { PulledImage } from "./runtime.ts";

const imageSchema = z.object({
  Id: z.string(),
  RepoDigests: z
    .array(z.string())
    .nullish()
    .transform((digests) => digests ?? []),
});
const messageSchema = z.object({
  status: z.string().optional(),
  id: z.string().optional(),
  error: z.string().optional(),
});

export interface Pull {
  engine: Engine;
  image: string;
  /** Take an image that only this engine has (never pushed) as it is. */
  localImages: boolean;
  onProgress: (message: string) => void;
  signal: AbortSignal;
}

/** Has the image on this host and answers it pinned: by the registry's digest, or by image id when it is local. */
export async function pullImage(pull: Pull): Promise<Outcome<PulledImage>> {
  const ref = parseImageRef(pull.image);
  if (!ref) {
    return failed(
      "image_not_found",
      `${pull.image} is no image reference: use repo:tag, repo@sha256:<64 hex> or sha256:<64 hex>`,
    );
  }
  try {
    return (await alreadyHere(pull, ref)) ?? (await fromRegistry(pull, ref));
  } catch (thrown) {
    return pullFailure(pull, ref, thrown);
  }
}

async function alreadyHere(pull: Pull, ref: ImageRef): Promise<Outcome<PulledImage> | undefined> {
  const image = await inspectImage(pull.engine, pull.image);
  if (ref.kind === "local") {
    if (image) return done({ image: image.Id, digest: image.Id });
    return failed(
      "image_not_found",
      `this host's engine has no image ${ref.id}: an image id is never pulled; build or load it here, or deploy repo@sha256:…`,
    );
  }
  if (!image) return undefined;
  if (ref.digest) return done({ image: `${ref.repository}@${ref.digest}`, digest: ref.digest });
  if (pull.localImages && image.RepoDigests.length === 0) return done({ image: image.Id, digest: image.Id });
  return undefined;
}

async function inspectImage(engine: Engine, image: string) {
  try {
    return await engine.json(imageSchema, "GET", `/images/${encodeURIComponent(image)}/json`);
  } catch (thrown) {
    if (thrown instanceof EngineError && thrown.status === 404) return undefined;
    throw thrown;
  }
}

async function fromRegistry(pull: Pull, ref: ImageRef): Promise<Outcome<PulledImage>> {
  if (ref.kind === "local") throw new Error(`a local image can't be pulled: ${ref.id}`);
  let digest = ref.digest;
  const stream = pull.engine.messages("POST", "/images/create", {
    // Without a tag the engine would pull every tag there is.
    query: { fromImage: ref.repository, tag: ref.digest ?? ref.tag ?? "latest" },
    headers: await registryAuth(ref.registry),
    signal: pull.signal,
  });
  for await (const line of stream) {
    const { status = "", id, error } = messageSchema.parse(line);
    if (error) throw new EngineError(500, error);
    digest ??= /^Digest: (sha256:[0-9a-f]{64})$/.exec(status)?.[1];
    pull.onProgress(id ? `${id}: ${status}` : status);
  }
  if (!digest)
    return failed("image_pull_failed", `${pull.image} was pulled, but the engine named no digest for it`);
  return done({ image: `${ref.repository}@${digest}`, digest });
}

function pullFailure(pull: Pull, ref: ImageRef, thrown: unknown): Outcome<never> {
  const said = words(thrown);
  if (thrown instanceof EngineUnavailable) return failed("runtime_unavailable", said);
  if (pull.signal.aborted)
    return failed("image_pull_failed", `pulling ${pull.image} was given up: its time was over`);
  const registry = ref.kind === "registry" ? ref.registry : "";
  // Order matters: "pull access denied … repository does not exist or may require 'docker login'" is about access.
  if (/unauthorized|denied|no basic auth|authentication required|forbidden/i.test(said)) {
    return failed(
      "image_unauthorized",
      `${registry} refused ${pull.image} (${said}): run \`docker login ${registry}\` on this host as the agent's user`,
    );
  }
  if (/manifest unknown|not found|name unknown|no such image/i.test(said)) {
    return failed("image_not_found", `${registry} has no ${pull.image} (${said}): was it pushed?`);
  }
  if (
    /connection refused|no such host|timeout|TLS|EOF|HTTP response to HTTPS|unreachable|no route|reset by peer/i.test(
      said,
    )
  ) {
    return failed("image_pull_failed", `this host can't reach the registry ${registry}: ${said}`);
  }
  return failed("image_pull_failed", `pulling ${pull.image} failed: ${said}`);
}
