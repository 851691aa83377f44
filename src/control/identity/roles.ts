import { isPreviewName, previewName } from "../../domain/previews/hostname.ts";
import type { Principal, Reach } from "../http/context.ts";

/** Each may what those before it may; a host's agent only what is its own. */
export const RANK = { agent: 0, viewer: 1, approver: 2, deployer: 3, admin: 4 } as const satisfies Record<
  Principal["role"],
  number
>;

export interface Need {
  readonly role: Exclude<Principal["role"], "agent">;
  /** Null: everything, as hosts and tokens are. */
  readonly app: string | null;
  /** Null: the whole app. */
  readonly environment: string | null;
  /** A token that is for this alone may do it, too. Whoever may deploy may have previews. */
  readonly action?: "deploy" | "preview";
}

export const everything = (role: Need["role"]): Need => ({ role, app: null, environment: null });

/** Whether a principal's role and scope are enough: one of them, where there are several. */
export const reaches = (principal: Principal, need: Need): boolean =>
  [principal, ...(principal.also ?? [])].some((reach) => isEnough(reach, need)) && isMeant(principal, need);

/** Whether it is what the token is for, where that is less than its role. */
function isMeant({ action, pull }: Principal, need: Need): boolean {
  if (action === null || need.action === action) return true;
  if (action === "deploy") return need.role === "viewer" || need.action === "preview";
  const { role, environment } = need;
  if (role !== "viewer" || environment === null || !isPreviewName(environment)) return false;
  return pull == null || environment === previewName(pull.number);
}

const isEnough = ({ role, app, environment }: Reach, need: Need): boolean =>
  (app === null || app === need.app) &&
  (environment === null || environment === need.environment) &&
  RANK[role] >= RANK[need.role];
