import type { KeyObject } from "node:crypto";
import { type Bundle, bundleFromJSON } from "@sigstore/bundle";
import {
  type SignedEntity,
  type Signer,
  type TrustMaterial,
  toSignedEntity,
  Verifier,
} from "@sigstore/verify";
import { z } from "zod";
import type { ImageRule } from "../../src/protocol/agent/image.ts";
import { words } from "../outcome.ts";
import { matchesGlob } from "../policy/glob.ts";
import { type Attached, jsonOf } from "./attached.ts";
import { payloadProblem } from "./cosign.ts";

export type Keyless = Exclude<ImageRule, { cosign: { key: string } }>;

/** What must be signed by whom. */
interface Claim {
  readonly digest: string;
  /** Of in-toto statements: what they may say of the image. */
  readonly predicates: readonly string[];
}

const COSIGN_SIGN = "https://sigstore.dev/cosign/sign/v1";
const PROVENANCE = ["https://slsa.dev/provenance/v1", "https://slsa.dev/provenance/v0.2"];
const GITHUB_ISSUER = "https://token.actions.githubusercontent.com";
/** "Source Repository URI" (Fulcio's OID table). */
const SOURCE_REPOSITORY = "1.3.6.1.4.1.57264.1.12";
/** By how much two honest clocks differ at most. */
const SKEW_MS = 10 * 60_000;

const statementSchema = z.object({
  _type: z.string().regex(/^https:\/\/in-toto\.io\/Statement\//),
  predicateType: z.string(),
  subject: z.array(z.object({ digest: z.record(z.string(), z.string()) })).max(1_000),
});

/** Why a bundle is not this key's signature of the image. The rule is about the key alone: logs and clocks in the bundle are left out. */
export function bundleKeyProblem(
  { bundle: json }: Attached,
  key: KeyObject,
  digest: string,
): string | undefined {
  return problemOf(() => {
    const bundle = bundleFromJSON(json);
    const entity = { ...toSignedEntity(bundle), timestamps: [], tlogEntries: [] };
    if (entity.key.$case !== "public-key") return "its signature is by no key but by a certificate";
    const trusted = { publicKey: key, validFor: () => true };
    const none = { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] };
    const wants = { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 };
    try {
      new Verifier({ ...none, publicKey: () => trusted }, wants).verify(entity);
    } catch {
      return "its signature is by another key";
    }
    return contentProblem(bundle, undefined, { digest, predicates: [COSIGN_SIGN] });
  });
}

/**
 * Why a bundle does not say what a rule without a key wants: a certificate that one of the roots gave to the one who is meant, its
 * signature of this image, and a log or a clock of that root that saw it while the certificate held. That is long over by now.
 */
export function keylessProblem(
  { bundle: json, payload }: Attached,
  {
    rule,
    digest,
    roots,
    now,
  }: { rule: Keyless; digest: string; roots: readonly TrustMaterial[]; now: number },
): string | undefined {
  return problemOf(() => {
    const bundle = bundleFromJSON(json);
    const entity = toSignedEntity(bundle, payload);
    const signed = signedBy(entity, roots);
    if (typeof signed === "string") return signed;
    const predicates = "attestation" in rule ? PROVENANCE : [COSIGN_SIGN];
    return (
      futureProblem(entity, now) ??
      signerProblem(signed, rule) ??
      contentProblem(bundle, payload, { digest, predicates })
    );
  });
}

function problemOf(judge: () => string | undefined): string | undefined {
  try {
    return judge();
  } catch (thrown) {
    return `its signature can't be read: ${words(thrown)}`;
  }
}

/** A root that names a log wants its entry, and one with a log of certificates its receipt: leaving either out is how to go unseen. */
function signedBy(entity: SignedEntity, roots: readonly TrustMaterial[]): Signer | string {
  let why = "its signature is by nobody whom this host trusts";
  for (const root of roots) {
    const wants = {
      tlogThreshold: Math.min(root.tlogs.length, 1),
      ctlogThreshold: Math.min(root.ctlogs.length, 1),
      timestampThreshold: 1,
    };
    try {
      return new Verifier(root, wants).verify(entity);
    } catch (thrown) {
      why = `its signature does not hold by this host's trusted root: ${words(thrown)}`;
    }
  }
  return why;
}

/** Those times are vouched for. One to come means that a clock is wrong, and if it isn't ours it is one we trust. */
function futureProblem({ timestamps }: SignedEntity, now: number): string | undefined {
  const times = timestamps.flatMap((time) => {
    if (time.$case === "timestamp-authority") return [time.timestamp.signingTime.getTime()];
    return time.tlogEntry.inclusionPromise ? [Number(time.tlogEntry.integratedTime) * 1000] : [];
  });
  const latest = Math.max(...times);
  if (latest <= now + SKEW_MS) return undefined;
  return `it was signed at ${new Date(latest).toISOString()}, which by this host's clock (${new Date(now).toISOString()}) is yet to come: check the clock`;
}

function signerProblem({ identity }: Signer, rule: Keyless): string | undefined {
  const name = identity?.subjectAlternativeName ?? "nobody";
  const issuer = identity?.extensions?.issuer;
  const wanted = "attestation" in rule ? GITHUB_ISSUER : rule.cosign.issuer;
  if (issuer !== wanted) return `${issuer ?? "nobody"} vouches for its signer, and not ${wanted}`;
  if (!("attestation" in rule))
    return matchesGlob(rule.cosign.identity, name)
      ? undefined
      : `it was signed by ${name}, and not by ${rule.cosign.identity}`;
  const meant = `https://github.com/${rule.attestation.github}`.toLowerCase();
  const source = repositoryOf(identity)?.toLowerCase();
  if (source !== meant) return `it was built from ${source ?? "no repository"}, and not from ${meant}`;
  // A workflow of others, called by one of the repository's, signs in its own name.
  return name.toLowerCase().startsWith(`${meant}/`)
    ? undefined
    : `it was attested by a workflow of others: ${name}`;
}

/** Text in DER: a tag, the length in one byte or in two, the bytes. */
function repositoryOf(identity: Signer["identity"]): string | undefined {
  const value = identity?.oids?.find(({ oid }) => oid?.id.join(".") === SOURCE_REPOSITORY)?.value;
  return value?.subarray(value[1] === 0x81 ? 3 : 2).toString("utf8");
}

function contentProblem(
  { content }: Bundle,
  payload: Buffer | undefined,
  { digest, predicates }: Claim,
): string | undefined {
  if (content.$case === "messageSignature")
    return payload ? payloadProblem(payload, digest) : "its signature signs no image";
  const { payloadType, payload: statement } = content.dsseEnvelope;
  const parsed = statementSchema.safeParse(jsonOf(statement));
  if (payloadType !== "application/vnd.in-toto+json" || !parsed.success)
    return "its signature signs no image";
  const { predicateType, subject } = parsed.data;
  if (!predicates.includes(predicateType))
    return `it is signed as ${predicateType}, and not as ${predicates[0]}`;
  const signed = subject.map((one) => `sha256:${one.digest.sha256}`);
  return signed.includes(digest) ? undefined : `its signature is of another image (${signed[0]})`;
}
