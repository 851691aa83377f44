import { z } from "zod";
import type { RegistryLogin } from "../../../src/protocol/agent/image.ts";
import { diskFull, saysDiskFull } from "../../host/disk.ts";
import { done, failed, type Outcome, words } from "../../outcome.ts";
import { type ImageRef, parseImageRef } from "../image-ref.ts";
import type { PulledImage } from "../runtime.ts";
import { throughRestart } from "./calls.ts";
import { type Engine, EngineError, EngineUnavailable } from "./engine.ts";
import { rootOf } from "./failure.ts";
import { pullMessageSchema, pullProgress } from "./progress.ts";
import { isFor, registryAuth } from "./registry-auth.ts";
import { engineRef, rename } from "./shipped.ts";

const imageSchema = z.object({
  Id: z.string(),
  RepoDigests: z
    .array(z.string())
    .nullish()
    .transform((digests) => digests ?? []),
});

export interface Pull {
  engine: Engine;
  image: string;
  /** The job's own; absent: what `docker login` left on this host. */
  login?: RegistryLogin | undefined;
  /** The repository that it is pulled from in the place of its own. */
  from?: string | undefined;
  /** Take an image that only this engine has (never pushed) as it is. */
  localImages: boolean;
  onProgress: (message: string) => void;
  signal: AbortSignal;
  /** How long an engine that went away is waited for. */
  backWithinMs: number;
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
    // Layers that were here before an engine's restart are not downloaded again.
    return await throughRestart(
      pull.engine,
      async () => (await alreadyHere(pull, ref)) ?? (await fromRegistry(pull, ref)),
      pull,
    );
  } catch (thrown) {
    return pullFailure(pull, ref, thrown);
  }
}

async function alreadyHere(pull: Pull, ref: ImageRef): Promise<Outcome<PulledImage> | undefined> {
  const image = await inspectImage(pull.engine, engineRef(pull.image));
  if (ref.kind === "local") {
    if (image) return done({ image: image.Id, digest: image.Id });
    return failed(
      "image_not_found",
      `this host's engine has no image ${ref.id}: an image id is never pulled; build or load it here, or deploy repo@sha256:…`,
    );
  }
  if (!image) return ref.digest && pull.localImages ? neverPushed(pull.engine, ref.digest) : undefined;
  if (ref.digest) return done({ image: `${ref.repository}@${ref.digest}`, digest: ref.digest });
  if (pull.localImages && image.RepoDigests.length === 0) return done({ image: image.Id, digest: image.Id });
  return undefined;
}

/** By its id: what no registry has has no other digest. */
async function neverPushed(engine: Engine, id: string): Promise<Outcome<PulledImage> | undefined> {
  const image = await inspectImage(engine, id);
  return image?.RepoDigests.length === 0 ? done({ image: image.Id, digest: image.Id }) : undefined;
}

/** As the engine calls an image that control pinned: one that was never pushed it knows by its id only. */
export async function engineName(engine: Engine, image: string): Promise<string> {
  if (engineRef(image) !== image) return engineRef(image);
  const ref = parseImageRef(image);
  if (ref?.kind !== "registry" || !ref.digest || (await inspectImage(engine, image))) return image;
  const local = await neverPushed(engine, ref.digest);
  return local?.ok ? local.value.image : image;
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
  let downloaded = false;
  const repository = pull.from ?? ref.repository;
  const stream = pull.engine.messages("POST", "/images/create", {
    // Without a tag the engine would pull every tag there is.
    query: { fromImage: repository, tag: ref.digest ?? ref.tag ?? "latest" },
    headers: await registryAuth(ref.registry, pull.login),
    signal: pull.signal,
  });
  const tell = pullProgress(pull.onProgress);
  for await (const line of stream) {
    const message = pullMessageSchema.parse(line);
    if (message.error) throw new EngineError(500, message.error);
    digest ??= /^Digest: (sha256:[0-9a-f]{64})$/.exec(message.status)?.[1];
    downloaded ||= message.status.startsWith("Status: Downloaded");
    tell(message);
  }
  if (!digest)
    return failed("image_pull_failed", `${pull.image} was pulled, but the engine named no digest for it`);
  if (pull.from !== undefined) await rename(pull.engine, `${repository}@${digest}`, pull.image);
  return done({ image: `${ref.repository}@${digest}`, digest, ...(downloaded && { downloaded }) });
}

async function pullFailure(pull: Pull, ref: ImageRef, thrown: unknown): Promise<Outcome<never>> {
  const said = words(thrown);
  if (thrown instanceof EngineUnavailable) return failed("runtime_unavailable", said);
  if (pull.signal.aborted)
    return failed("image_pull_failed", `pulling ${pull.image} was given up: its time was over`);
  if (saysDiskFull(said))
    return diskFull(`${pull.image} can't be pulled (${said})`, await rootOf(pull.engine));
  const registry = ref.kind === "registry" ? ref.registry : "";
  // Order matters: "pull access denied … repository does not exist or may require 'docker login'" is about access.
  if (/unauthorized|denied|no basic auth|authentication required|forbidden/i.test(said)) {
    return failed(
      "image_unauthorized",
      `${registry} refused ${pull.image} (${said}): ${loginAdvice(pull, registry)}`,
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
  if (/no matching manifest|does not match the specified platform/i.test(said)) {
    return failed(
      "image_not_found",
      `${pull.image} was not built for this host's platform (${said}): build and push it for that, too (docker buildx build --platform …)`,
    );
  }
  return failed("image_pull_failed", `pulling ${pull.image} failed: ${said}`);
}

function loginAdvice({ login }: Pull, registry: string): string {
  if (login && isFor(login, registry))
    return `the registry login that control keeps for this app (user ${login.username}) does not open it: set it anew`;
  return `give control a registry login for it, or run \`docker login ${registry}\` on this host as the agent's user`;
}
