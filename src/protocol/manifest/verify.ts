import { z } from "zod";
import type { ImageRule } from "../../domain/spec.ts";

const PEM = /^\s*-----BEGIN PUBLIC KEY-----[A-Za-z0-9+/=\s]+-----END PUBLIC KEY-----\s*$/;
/** As GitHub names them; `github` before it is how people say it. */
const REPOSITORY = /^(?:github[ :/])?([A-Za-z0-9][A-Za-z0-9-]{0,38}\/[A-Za-z0-9._-]{1,100})$/;

const cosignSchema = z
  .strictObject({
    key: z
      .string()
      .max(4_000)
      .regex(PEM, "must be a public key as PEM, as `cosign public-key` prints it")
      .optional(),
    issuer: z
      .string()
      .max(500)
      .regex(/^https:\/\/[^\s*]+$/, "must be the https address of who vouches for identities")
      .optional(),
    identity: z
      .string()
      .max(500)
      .refine((text) => /[^*/]/.test(text), "would let anybody sign: say who")
      .optional(),
  })
  .transform((cosign, context): Extract<ImageRule, { cosign: unknown }>["cosign"] => {
    const { key, issuer, identity } = cosign;
    if (key !== undefined && issuer === undefined && identity === undefined) return { key };
    if (key === undefined && issuer !== undefined && identity !== undefined) return { issuer, identity };
    context.addIssue({ code: "custom", message: "takes either `key`, or both `issuer` and `identity`" });
    return z.NEVER;
  });

/** `verify:` of a manifest: who must have signed the app's image. One rule; a second would be read as "either" by one and as "both" by another. */
export const verifySchema = z
  .strictObject({
    mode: z.enum(["enforce", "warn"]).default("enforce"),
    cosign: cosignSchema.optional(),
    attestation: z
      .string()
      .regex(REPOSITORY, "must be a repository on GitHub, such as acme/shop")
      .transform((text) => ({ github: REPOSITORY.exec(text)?.[1] ?? text }))
      .optional(),
  })
  .transform(({ mode, cosign, attestation }, context): ImageRule => {
    // One by one, since a union of rules is no rule of unions.
    if (cosign && !attestation) return "key" in cosign ? { mode, cosign } : { mode, cosign };
    if (attestation && !cosign) return { mode, attestation };
    context.addIssue({ code: "custom", message: "takes one of `cosign` and `attestation`" });
    return z.NEVER;
  });
