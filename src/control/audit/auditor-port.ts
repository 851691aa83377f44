import type { Head } from "../../domain/audit-chain.ts";

/** What others ask of the auditor. */
export interface AuditorPort {
  /** Chains what was written since. Answers where the chain ends, as the auditor itself remembers it. */
  seal(): Promise<Head>;
}
