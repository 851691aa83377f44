import type { Coordinator } from "./coordinator.ts";
import type { HostLink } from "./host-link.ts";

/** Control's bindings, as wrangler.toml declares them. */
export interface ControlEnv {
  readonly DB: D1Database;
  readonly TABLES: KVNamespace;
  readonly COORDINATOR: DurableObjectNamespace<Coordinator>;
  readonly HOST_LINK: DurableObjectNamespace<HostLink>;
  /** SHA-256 (hex) of the first admin token: how the first person gets in. A Worker secret. */
  readonly ADMIN_TOKEN_SHA256?: string;
  /** Shown by /health. */
  readonly VERSION?: string;
}
