import { z } from "zod";

/** An export is checked where it is, by whoever has it. */
export type { Head } from "../domain/audit-chain.ts";
export { Verification } from "./audit-hash.ts";

const hash = z.string().max(64);
/** Times are epoch ms: as they are hashed. */
const chainedEventSchema = z.object({
  id: z.number().int(),
  at: z.number().int(),
  type: z.string(),
  actor: z.string(),
  app: z.string().nullable(),
  environment: z.string().nullable(),
  environmentId: z.string().nullable(),
  releaseId: z.string().nullable(),
  message: z.string(),
  data: z.record(z.string(), z.unknown()),
});

/** One line of an export: an event, and its link in the chain. Either may be gone. */
export const auditEntrySchema = z
  .object({
    id: z.number().int(),
    link: z
      .object({
        id: z.number().int(),
        at: z.number().int(),
        environmentId: z.string().nullable(),
        /** SHA-256 of the event as canonical JSON. */
        leaf: hash,
        /** SHA-256 of the hash before, and of all else of the link. */
        hash,
      })
      .nullable(),
    event: chainedEventSchema.nullable(),
  })
  .meta({ id: "AuditEntry" });
export type AuditEntry = z.infer<typeof auditEntrySchema>;

export const auditChainSchema = z
  .object({
    items: z.array(auditEntrySchema),
    nextCursor: z.string().nullable(),
    /** Where the chain ends by the auditor's own memory, apart from the database. */
    head: z.object({ id: z.number().int(), hash }),
  })
  .meta({ id: "AuditChain" });
export type AuditChain = z.infer<typeof auditChainSchema>;
