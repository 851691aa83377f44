import { createHash, createPublicKey, type KeyObject, verify } from "node:crypto";
import { z } from "zod";

/** Reads a path of the image's repository; `undefined`: it isn't there. */
type Read = (path: string, accept: string) => Promise<Buffer | undefined>;

const SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE = "dev.cosignproject.cosign/signature";
const MANIFESTS =
  "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

const manifestSchema = z.object({
  layers: z
    .array(
      z.object({
        mediaType: z.string(),
        digest: z.string().regex(/^sha256:[0-9a-f]{64}$/),
        annotations: z.record(z.string(), z.string()).default({}),
      }),
    )
    .max(100),
});
const payloadSchema = z.object({
  critical: z.object({
    type: z.literal("cosign container image signature"),
    image: z.object({ "docker-manifest-digest": z.string() }),
  }),
});

/**
 * Whether `cosign sign --key` signed this digest (cosign's SIGNATURE_SPEC): a manifest under the tag `sha256-<hex>.sig` with a layer for each
 * signature, whose payload names the digest. Answers why not; `undefined` when one of them holds.
 */
export async function unsignedBy(pem: string, digest: string, read: Read): Promise<string | undefined> {
  const key = createPublicKey(pem);
  const found = await read(`manifests/${digest.replace(":", "-")}.sig`, MANIFESTS);
  if (!found) return "it has no signature";
  const { layers } = manifestSchema.parse(JSON.parse(found.toString("utf8")));
  let why = "it has no signature";
  for (const layer of layers.filter(({ mediaType }) => mediaType === SIMPLE_SIGNING)) {
    const payload = await read(`blobs/${layer.digest}`, "*/*");
    const problem = payload
      ? problemOf(payload, layer, { key, digest })
      : "its signature's payload is missing";
    if (problem === undefined) return undefined;
    why = problem;
  }
  return why;
}

type Layer = z.infer<typeof manifestSchema>["layers"][number];

function problemOf(
  payload: Buffer,
  { digest: own, annotations }: Layer,
  { key, digest }: { key: KeyObject; digest: string },
): string | undefined {
  if (`sha256:${createHash("sha256").update(payload).digest("hex")}` !== own)
    return "its signature's payload is not what the registry calls it";
  // Ed25519 hashes by itself.
  const hash = key.asymmetricKeyType === "ed25519" ? null : "sha256";
  if (!verify(hash, payload, key, Buffer.from(annotations[SIGNATURE] ?? "", "base64")))
    return "its signature is by another key";
  const parsed = payloadSchema.safeParse(parseJson(payload));
  if (!parsed.success) return "its signature signs no image";
  const signed = parsed.data.critical.image["docker-manifest-digest"];
  return signed === digest ? undefined : `its signature is of another image (${signed})`;
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    return undefined; // the schema says that it is none
  }
}
