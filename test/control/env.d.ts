import type { D1Migration } from "cloudflare:test";
import type { ControlEnv } from "../../src/control/env.ts";

declare global {
  namespace Cloudflare {
    interface Env extends ControlEnv {
      readonly TEST_MIGRATIONS: D1Migration[];
      /** How many stories control plays beside its double. */
      readonly SIMULATE_SEEDS: string;
    }
  }
}
