import type { D1Migration } from "cloudflare:test";
import type { ControlEnv } from "../../src/control/env.ts";

declare global {
  namespace Cloudflare {
    interface Env extends ControlEnv {
      readonly TEST_MIGRATIONS: D1Migration[];
      /** Not empty: the access matrix is printed. */
      readonly PRINT_ACCESS_MATRIX: string;
      /** How many stories control plays beside its double. */
      readonly SIMULATE_SEEDS: string;
      readonly SIMULATE_FROM: string;
    }
  }
}
