import { vi } from "vitest";
import { withinFetchLimits } from "./support/within-limits.ts";
import { emptyWorld } from "./support/world.ts";

// Whatever a test puts in the network's place, control reaches it within Cloudflare's limits.
const { stubGlobal } = vi;
if (!("isWithinLimits" in vi)) {
  vi.stubGlobal = (name, value) =>
    stubGlobal(name, name === "fetch" ? withinFetchLimits(value as typeof fetch) : value);
  Object.assign(vi, { isWithinLimits: true });
}

// Files share a workerd: each begins with nothing of the one before.
await emptyWorld();
