import { z } from "zod";

/** Who the agent is to the registry: opened for the agent that claims the job, kept nowhere. Absent: the host's own login. */
export const registryLoginSchema = z.strictObject({
  registry: z.string(),
  username: z.string(),
  password: z.string(),
});
export type RegistryLogin = z.infer<typeof registryLoginSchema>;

/** `warn`: says it, and runs the image all the same. */
const mode = z.enum(["enforce", "warn"]);
/** Who must have signed an image. The agent asks before anything of it runs, and takes whatever it can't find out for no. */
export const imageRuleSchema = z.union([
  /** `cosign sign --key`: a public key, as PEM. */
  z.strictObject({ mode, cosign: z.strictObject({ key: z.string().max(4_000) }) }),
  /** `cosign sign`: to whom the certificate was given (`*` within one part of a path, `**` for more), and who vouched for them. */
  z.strictObject({
    mode,
    cosign: z.strictObject({ issuer: z.string().max(500), identity: z.string().max(500) }),
  }),
  /** `actions/attest-build-provenance` in a workflow of this repository (`owner/name`). */
  z.strictObject({ mode, attestation: z.strictObject({ github: z.string().max(200) }) }),
]);
export type ImageRule = z.infer<typeof imageRuleSchema>;

/** Of the app's own image; accessories are other people's. Absent: it needs no signature. */
export const verify = imageRuleSchema.optional();
