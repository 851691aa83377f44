import { z } from "zod";

/** Who the agent is to the registry: opened for the agent that claims the job, kept nowhere. Absent: the host's own login. */
export const registryLoginSchema = z.strictObject({
  registry: z.string(),
  username: z.string(),
  password: z.string(),
});
export type RegistryLogin = z.infer<typeof registryLoginSchema>;

/** Who must have signed an image. The agent asks before anything of it runs, and takes whatever it can't find out for no. */
export const imageRuleSchema = z.strictObject({
  /** `warn`: says it, and runs the image all the same. */
  mode: z.enum(["enforce", "warn"]),
  /** `cosign sign --key`: a public key, as PEM. */
  cosign: z.strictObject({ key: z.string().max(4_000) }),
});
export type ImageRule = z.infer<typeof imageRuleSchema>;

/** Of the app's own image; accessories are other people's. Absent: it needs no signature. */
export const verify = imageRuleSchema.optional();
