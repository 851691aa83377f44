import type { Head } from "../../domain/audit-chain.ts";
import type { ControlEnv } from "../env.ts";
import { objectIn } from "../objects.ts";

const NAME = "auditor";

/** Chains what was written to the audit log since. Answers where it ends. */
export const sealAudit = (env: Pick<ControlEnv, "AUDITOR" | "REGION">): Promise<Head> =>
  objectIn(env.AUDITOR, NAME, env).seal();
