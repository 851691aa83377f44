import { createHash, type KeyObject, verify } from "node:crypto";
import { z } from "zod";
import { type Attached, jsonOf, type SignatureLayer } from "./attached.ts";

const SIGNATURE = "dev.cosignproject.cosign/signature";

const payloadSchema = z.object({
  critical: z.object({
    type: z.literal("cosign container image signature"),
    image: z.object({ "docker-manifest-digest": z.string() }),
  }),
});

/** Why a layer is not this key's signature of this digest (cosign's SIGNATURE_SPEC); `undefined` when it is. */
export function keyProblem(
  { payload, annotations }: SignatureLayer,
  key: KeyObject,
  digest: string,
): string | undefined {
  // Ed25519 hashes by itself.
  const hash = key.asymmetricKeyType === "ed25519" ? null : "sha256";
  if (!verify(hash, payload, key, Buffer.from(annotations[SIGNATURE] ?? "", "base64")))
    return "its signature is by another key";
  return payloadProblem(payload, digest);
}

/** Why what is signed is not this image. */
export function payloadProblem(payload: Buffer, digest: string): string | undefined {
  const parsed = payloadSchema.safeParse(jsonOf(payload));
  if (!parsed.success) return "its signature signs no image";
  const signed = parsed.data.critical.image["docker-manifest-digest"];
  return signed === digest ? undefined : `its signature is of another image (${signed})`;
}

const rekorSchema = z.object({
  SignedEntryTimestamp: z.string(),
  Payload: z.object({
    body: z.string(),
    integratedTime: z.number().int(),
    logIndex: z.number().int(),
    logID: z.string(),
  }),
});
const entrySchema = z.object({ kind: z.string(), apiVersion: z.string() });
const timestampSchema = z.object({ SignedRFC3161Timestamp: z.string() });

/** A keyless signature of cosign 2 as the bundle that cosign 3 writes of the same facts; `undefined` when it has no certificate. */
export function asBundle({ payload, annotations }: SignatureLayer): Attached | undefined {
  const certificate = derOf(annotations["dev.sigstore.cosign/certificate"]);
  if (!certificate) return undefined;
  const rekor = rekorSchema.safeParse(parsed(annotations["dev.sigstore.cosign/bundle"])).data;
  const stamped = timestampSchema.safeParse(parsed(annotations["dev.sigstore.cosign/rfc3161timestamp"])).data;
  const bundle = {
    mediaType: "application/vnd.dev.sigstore.bundle+json;version=0.1",
    verificationMaterial: {
      x509CertificateChain: { certificates: [{ rawBytes: certificate }] },
      tlogEntries: rekor ? [entryOf(rekor)] : [],
      timestampVerificationData: {
        rfc3161Timestamps: stamped ? [{ signedTimestamp: stamped.SignedRFC3161Timestamp }] : [],
      },
    },
    messageSignature: {
      messageDigest: {
        algorithm: "SHA2_256",
        digest: createHash("sha256").update(payload).digest("base64"),
      },
      signature: annotations[SIGNATURE] ?? "",
    },
  };
  return { bundle, payload };
}

function entryOf({ SignedEntryTimestamp, Payload }: z.infer<typeof rekorSchema>) {
  const entry = entrySchema.safeParse(jsonOf(Buffer.from(Payload.body, "base64"))).data;
  return {
    logIndex: String(Payload.logIndex),
    logId: { keyId: Buffer.from(Payload.logID, "hex").toString("base64") },
    kindVersion: { kind: entry?.kind ?? "", version: entry?.apiVersion ?? "" },
    integratedTime: String(Payload.integratedTime),
    inclusionPromise: { signedEntryTimestamp: SignedEntryTimestamp },
    canonicalizedBody: Payload.body,
  };
}

const parsed = (text: string | undefined) => (text === undefined ? undefined : jsonOf(Buffer.from(text)));

/** The first certificate of a PEM, as base64. */
const derOf = (pem: string | undefined) =>
  /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/
    .exec(pem ?? "")?.[1]
    ?.replaceAll(/\s/g, "");
