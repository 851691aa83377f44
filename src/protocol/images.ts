import { z } from "zod";

/**
 * Images that are in no registry: control keeps them in a bucket, as layers in parts, and hosts fetch them from there.
 * Digests and manifests are OCI's (https://specs.opencontainers.org/image-spec/).
 */

/** What stands in the place of a registry's name. No such host can be: `.local` is never asked of a DNS server. */
export const SHIPPED = "sluice.local";

const DIGEST = /^sha256:[0-9a-f]{64}$/;
export const digestSchema = z.string().regex(DIGEST, "must be sha256:<64 hex>");

/** `sluice.local/shop@sha256:…`; undefined: of a registry, or anything else. */
export function shippedImage(image: string): { readonly app: string; readonly digest: string } | undefined {
  const [, app, digest] = /^sluice\.local\/([a-z0-9-]+)@(sha256:[0-9a-f]{64})$/.exec(image) ?? [];
  return app === undefined || digest === undefined ? undefined : { app, digest };
}

const MIB = 1024 * 1024;
export const IMAGE_LIMITS = {
  /** What a client cuts layers into. Cloudflare lets through 100 MB a request; a part is what is lost at most when one breaks off. */
  partBytes: 16 * MIB,
  partMostBytes: 32 * MIB,
  /** Parts of a layer: as many reads of the bucket make one answer. */
  partsMost: 640,
  /** As Docker has them. */
  layersMost: 127,
  manifestBytes: 256 * 1024,
  configBytes: 4 * MIB,
  /** What an app's unfinished uploads may come to. */
  pendingBytes: 32 * 1024 * MIB,
} as const;

export const CONFIG_TYPE = "application/vnd.oci.image.config.v1+json";
export const MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json";
export const LAYER_TYPES = [
  "application/vnd.oci.image.layer.v1.tar+gzip",
  "application/vnd.oci.image.layer.v1.tar+zstd",
] as const;

const size = z.number().int().min(1);
const layerTypeSchema = z.enum(LAYER_TYPES);

/** What the CLI writes, and nothing more: what is not understood is not kept. */
export const imageManifestSchema = z.strictObject({
  schemaVersion: z.literal(2),
  mediaType: z.literal(MANIFEST_TYPE),
  config: z.strictObject({
    mediaType: z.literal(CONFIG_TYPE),
    digest: digestSchema,
    size: size.max(IMAGE_LIMITS.configBytes),
  }),
  layers: z
    .array(z.strictObject({ mediaType: layerTypeSchema, digest: digestSchema, size }))
    .min(1)
    .max(IMAGE_LIMITS.layersMost),
});
export type ImageManifest = z.infer<typeof imageManifestSchema>;

/** Of an image's configuration: which files each layer holds, whatever it was compressed with. */
export const imageConfigSchema = z.object({
  rootfs: z.object({ diff_ids: z.array(digestSchema).max(IMAGE_LIMITS.layersMost) }),
});

const digests = z.array(digestSchema).max(IMAGE_LIMITS.partsMost).default([]);
export const askImagesSchema = z
  .strictObject({
    /** Layers by the digest of their files: those that an image of this environment had. */
    layers: digests,
    /** Blobs by their own digest: those of the app. */
    blobs: digests,
    /** Parts that wait to be made a blob of. */
    parts: digests,
  })
  .meta({ id: "AskImages" });
export type AskImages = z.input<typeof askImagesSchema>;

export const knownImagesSchema = z
  .object({
    layers: z.array(
      z.object({ diffId: digestSchema, digest: digestSchema, size, mediaType: layerTypeSchema }),
    ),
    blobs: z.array(z.object({ digest: digestSchema, size })),
    parts: z.array(digestSchema),
  })
  .meta({ id: "KnownImages" });
export type KnownImages = z.infer<typeof knownImagesSchema>;

export const putBlobSchema = z
  .strictObject({ size, parts: z.array(digestSchema).min(1).max(IMAGE_LIMITS.partsMost) })
  .meta({ id: "PutBlob" });
export const blobSchema = z.object({ digest: digestSchema, size }).meta({ id: "Blob" });

/** As text: its digest is of these very bytes. */
export const putImageSchema = z
  .strictObject({ manifest: z.string().max(IMAGE_LIMITS.manifestBytes) })
  .meta({ id: "PutImage" });
export const imageSchema = z
  .object({
    /** `sluice.local/shop@sha256:…` */
    image: z.string(),
    /** Of all its layers, as they are kept. */
    bytes: z.number().int(),
  })
  .meta({ id: "Image" });
