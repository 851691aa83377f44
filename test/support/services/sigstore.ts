import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { initializeCA, initializeCTLog } from "@sigstore/mock/dist/fulcio/index.js";
import { initializeTLog } from "@sigstore/mock/dist/rekor/index.js";
import { initializeTSA } from "@sigstore/mock/dist/timestamp/index.js";
import { z } from "zod";

/** Sigstore's certificate authority, its logs and its clock, each with keys of its own, at a time that the test says. */

const STATEMENT = "application/vnd.in-toto+json";
const SHA256_OID = "2.16.840.1.101.3.4.2.1";
const LONG = { start: "2000-01-01T00:00:00Z" };
const keys = (namedCurve = "P-256") => generateKeyPairSync("ec", { namedCurve });
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest();
const b64 = (bytes: ArrayBufferView | Buffer) =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
const der = (key: KeyObject) => key.export({ format: "der", type: "spki" });

/** Types of the answer are in a package that is not needed else. */
const entrySchema = z.object({
  ...{ logIndex: z.number(), logID: z.string(), integratedTime: z.number(), body: z.string() },
  verification: z.object({
    signedEntryTimestamp: z.string(),
    inclusionProof: z.object({
      ...{ logIndex: z.number(), treeSize: z.number(), rootHash: z.string(), checkpoint: z.string() },
    }),
  }),
});

interface Keys {
  publicKey: KeyObject;
  privateKey: KeyObject;
}

export interface Sigstore {
  /** What a host pins. `without` a log of entries, as GitHub has it for private repositories. */
  root(without?: "logs"): object;
  bundle(signing: Signing): Promise<object>;
  /** As `cosign sign` of version 2 leaves it: a payload, and annotations of its layer. */
  layer(signing: Signing): Promise<{ payload: string; annotations: Record<string, string> }>;
}

export interface Signing {
  digest: string;
  identity: string;
  issuer: string;
  /** "Source Repository URI" of the certificate. */
  repository?: string;
  predicate?: string;
  /** When the certificate is given, and when a log or clock saw the signature. Default: now. */
  issuedAt?: Date;
  seenAt?: Date;
  /** Who saw it; nobody is an answer, too. */
  by?: readonly ("log" | "clock")[];
  /** Whether the certificate itself was logged, as GitHub's for private repositories is not. */
  receipt?: boolean;
  /** Changes the statement after it was signed. */
  altered?: boolean;
}

export async function sigstore(): Promise<Sigstore> {
  const kept = { ca: keys("P-384"), ct: keys(), log: keys(), clock: keys("P-384") };
  const ct = await initializeCTLog(kept.ct);
  const ca = await initializeCA(kept.ca, ct);
  const clock = await initializeTSA(kept.clock);
  const log = (key: KeyObject, baseUrl: string) => ({
    baseUrl,
    hashAlgorithm: "SHA2_256",
    publicKey: { rawBytes: b64(der(key)), keyDetails: "PKIX_ECDSA_P256_SHA_256", validFor: LONG },
    logId: { keyId: b64(sha256(der(key))) },
  });
  const authority = (uri: string, certificates: ArrayBufferView[]) => ({
    subject: { organization: "sigstore.mock", commonName: "sigstore" },
    uri,
    certChain: { certificates: certificates.map((one) => ({ rawBytes: b64(one) })) },
    validFor: LONG,
  });
  return {
    root: (without) => ({
      mediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
      tlogs: without === "logs" ? [] : [log(kept.log.publicKey, "https://log.test")],
      ctlogs: without === "logs" ? [] : [log(kept.ct.publicKey, "https://ct.test")],
      certificateAuthorities: [authority("https://ca.test", [ca.rootCertificate])],
      timestampAuthorities: [authority("https://clock.test", [clock.intCertificate, clock.rootCertificate])],
    }),
    bundle: (signing) => bundleOf(kept, signing),
    layer: (signing) => layerOf(kept, signing),
  };
}

async function bundleOf(
  kept: Record<"ca" | "ct" | "log" | "clock", Keys>,
  signing: Signing,
): Promise<object> {
  const { issuedAt = new Date(), seenAt = issuedAt, by = ["log"], altered = false } = signing;
  const signer = keys();
  const payload = statementOf(signing);
  const signature = sign("sha256", preAuth(payload), signer.privateKey);
  const certificate = await certificateOf(kept, signer.publicKey, { ...signing, issuedAt });
  const seen = { payload, signature, certificate, seenAt };
  return {
    mediaType: "application/vnd.dev.sigstore.bundle.v0.3+json",
    verificationMaterial: {
      certificate: { rawBytes: b64(certificate) },
      tlogEntries: by.includes("log") ? [await entryOf(kept.log, seen)] : [],
      timestampVerificationData: {
        rfc3161Timestamps: by.includes("clock") ? [await stampOf(kept.clock, seen)] : [],
      },
    },
    dsseEnvelope: {
      payload: b64(altered ? Buffer.from(payload.toString().replace("sha256", "sha512")) : payload),
      payloadType: STATEMENT,
      signatures: [{ sig: b64(signature), keyid: "" }],
    },
  };
}

async function layerOf(kept: Record<"ca" | "ct" | "log", Keys>, signing: Signing) {
  const { issuedAt = new Date(), digest } = signing;
  const signer = keys();
  const image = { "docker-manifest-digest": digest };
  const critical = { identity: {}, image, type: "cosign container image signature" };
  const payload = Buffer.from(JSON.stringify({ critical, optional: null }));
  const signature = b64(sign("sha256", payload, signer.privateKey));
  const pem = pemOf(await certificateOf(kept, signer.publicKey, { ...signing, issuedAt }));
  const made = await logged(kept.log, issuedAt, {
    kind: "hashedrekord",
    apiVersion: "0.0.1",
    spec: {
      data: { hash: { algorithm: "sha256", value: sha256(payload).toString("hex") } },
      signature: { content: signature, publicKey: { content: Buffer.from(pem).toString("base64") } },
    },
  });
  const { body, integratedTime, logIndex, logID } = made;
  const rekor = {
    SignedEntryTimestamp: made.verification.signedEntryTimestamp,
    Payload: { body, integratedTime, logIndex, logID },
  };
  return {
    payload: payload.toString(),
    annotations: {
      "dev.cosignproject.cosign/signature": signature,
      "dev.sigstore.cosign/certificate": pem,
      "dev.sigstore.cosign/bundle": JSON.stringify(rekor),
    },
  };
}

const pemOf = (certificate: ArrayBufferView) =>
  `-----BEGIN CERTIFICATE-----\n${b64(certificate)}\n-----END CERTIFICATE-----\n`;

const statementOf = ({ digest, predicate }: Signing) =>
  Buffer.from(
    JSON.stringify({
      _type: "https://in-toto.io/Statement/v1",
      subject: [{ name: "", digest: { sha256: digest.replace("sha256:", "") } }],
      predicateType: predicate ?? "https://sigstore.dev/cosign/sign/v1",
      predicate: {},
    }),
  );

/** The bundle that `cosign sign --key` of cosign 3 leaves, without its log's entry. */
export function keyBundle(digest: string, key: KeyObject): object {
  const payload = statementOf({ digest, identity: "", issuer: "" });
  return {
    mediaType: "application/vnd.dev.sigstore.bundle.v0.3+json",
    verificationMaterial: { publicKey: { hint: "any" }, tlogEntries: [] },
    dsseEnvelope: {
      payload: b64(payload),
      payloadType: STATEMENT,
      signatures: [{ sig: b64(sign("sha256", preAuth(payload), key)), keyid: "" }],
    },
  };
}

/** What DSSE signs. */
const preAuth = (payload: Buffer) =>
  Buffer.from(`DSSEv1 ${STATEMENT.length} ${STATEMENT} ${payload.length} ${payload}`);

async function certificateOf(
  kept: Record<"ca" | "ct", Keys>,
  key: KeyObject,
  { issuer, identity, repository, issuedAt, receipt = true }: Signing & { issuedAt: Date },
) {
  const log = receipt ? await initializeCTLog(kept.ct, issuedAt) : undefined;
  const ca = await initializeCA(kept.ca, log, issuedAt);
  const extensions = [
    { oid: "1.3.6.1.4.1.57264.1.8", value: issuer },
    ...(repository === undefined ? [] : [{ oid: "1.3.6.1.4.1.57264.1.12", value: repository }]),
  ];
  return ca.issueCertificate({ publicKey: der(key), subjectAltName: identity, extensions });
}

interface Seen {
  payload: Buffer;
  signature: Buffer;
  certificate: ArrayBufferView;
  seenAt: Date;
}

async function entryOf(keys: Keys, { payload, signature, certificate, seenAt }: Seen) {
  const made = await logged(keys, seenAt, {
    kind: "dsse",
    apiVersion: "0.0.1",
    spec: {
      payloadHash: { algorithm: "sha256", value: sha256(payload).toString("hex") },
      signatures: [
        { signature: b64(signature), verifier: Buffer.from(pemOf(certificate)).toString("base64") },
      ],
    },
  });
  const { inclusionProof: proof, signedEntryTimestamp } = made.verification;
  return {
    logIndex: String(made.logIndex),
    logId: { keyId: Buffer.from(made.logID, "hex").toString("base64") },
    kindVersion: { kind: "dsse", version: "0.0.1" },
    integratedTime: String(made.integratedTime),
    inclusionPromise: { signedEntryTimestamp },
    inclusionProof: {
      logIndex: String(proof.logIndex),
      treeSize: String(proof.treeSize),
      rootHash: Buffer.from(proof.rootHash, "hex").toString("base64"),
      hashes: [],
      checkpoint: { envelope: proof.checkpoint },
    },
    canonicalizedBody: made.body,
  };
}

async function logged(keys: Keys, at: Date, entry: object) {
  const log = await initializeTLog("https://log.test", keys, at);
  return entrySchema.parse(Object.values(await log.log(entry))[0]);
}

async function stampOf(keys: Keys, { signature, seenAt }: Seen) {
  // Whole seconds: this stand-in writes fractions that end in a zero as no clock does.
  const clock = await initializeTSA(keys, new Date(Math.floor(seenAt.getTime() / 1_000) * 1_000));
  const stamp = await clock.timestamp({
    artifactHash: sha256(signature),
    hashAlgorithmOID: SHA256_OID,
    nonce: 1,
    policyOID: "1.3.6.1.4.1.57264.2",
    certReq: false,
  });
  return { signedTimestamp: b64(stamp) };
}
