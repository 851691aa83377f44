import { z } from "zod";

/** Reads a path of the image's repository; `undefined`: it isn't there. */
export type Read = (path: string, accept: string) => Promise<Buffer | undefined>;

/** A Sigstore bundle, and the bytes that it signs where it does not carry them. */
export interface Attached {
  readonly bundle: unknown;
  readonly payload?: Buffer;
}

/** cosign 2 keeps signatures as layers, each with what proves it in annotations. */
export interface SignatureLayer {
  readonly payload: Buffer;
  readonly annotations: Readonly<Record<string, string>>;
}

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);
const SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json";
const BUNDLE = "application/vnd.dev.sigstore.bundle";
const INDEX = "application/vnd.oci.image.index.v1+json";
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
/** Whoever may push may attach; more than these are not looked at. */
const MOST = 50;

const layerSchema = z.object({
  mediaType: z.string(),
  digest,
  annotations: z.record(z.string(), z.string()).default({}),
});
const manifestSchema = z.object({ layers: z.array(layerSchema).max(100) });
const indexSchema = z.object({
  manifests: z.array(z.object({ digest, artifactType: z.string().optional() })).max(1_000),
});

/**
 * The Sigstore bundles that are attached to an image (OCI distribution-spec 1.1, "referrers": asked of the registry, or under the
 * tag that stands in where it has no such call). cosign 3 and GitHub's `push-to-registry` put them there.
 */
export async function attachedBundles(of: string, read: Read): Promise<Attached[]> {
  const listed =
    (await read(`referrers/${of}`, INDEX)) ?? (await read(`manifests/${of.replace(":", "-")}`, INDEX));
  if (!listed) return [];
  const { manifests } = indexSchema.parse(jsonOf(listed));
  // Some registries leave the type out of the list: then the layer tells.
  const meant = manifests
    .filter(({ artifactType }) => artifactType?.startsWith(BUNDLE) ?? true)
    .slice(0, MOST);
  const found = await Promise.all(meant.map(({ digest }) => bundlesIn(digest, read)));
  return found.flat();
}

async function bundlesIn(of: string, read: Read): Promise<Attached[]> {
  const manifest = await read(`manifests/${of}`, MANIFEST);
  const parsed = manifest && manifestSchema.safeParse(jsonOf(manifest));
  const layers = parsed?.success ? parsed.data.layers : [];
  const blobs = await Promise.all(
    layers
      .filter(({ mediaType }) => mediaType.startsWith(BUNDLE))
      .map(({ digest }) => read(`blobs/${digest}`, "*/*")),
  );
  return blobs.flatMap((blob) => (blob ? [{ bundle: jsonOf(blob) }] : []));
}

/** What cosign 2 keeps under the tag `sha256-<hex>.sig` (its SIGNATURE_SPEC). */
export async function signatureLayers(of: string, read: Read): Promise<SignatureLayer[]> {
  const found = await read(
    `manifests/${of.replace(":", "-")}.sig`,
    `${MANIFEST}, application/vnd.docker.distribution.manifest.v2+json`,
  );
  if (!found) return [];
  const { layers } = manifestSchema.parse(jsonOf(found));
  const signing = layers.filter(({ mediaType }) => mediaType === SIMPLE_SIGNING).slice(0, MOST);
  const read_ = signing.map(async ({ digest, annotations }) => {
    const payload = await read(`blobs/${digest}`, "*/*");
    return payload ? [{ payload, annotations }] : [];
  });
  return (await Promise.all(read_)).flat();
}

/** `undefined` where the bytes are none: schemas say that it is none. */
export function jsonOf(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    return undefined;
  }
}
