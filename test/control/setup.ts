import { vi } from "vitest";
import { withinFetchLimits } from "./support/within-limits.ts";
import { emptyWorld } from "./support/world.ts";

// Control reaches the network, and whatever a test puts in its place, within Cloudflare's limits. The SDK takes the global `fetch`.
const { stubGlobal } = vi;
if (!("isWithinLimits" in vi)) {
  globalThis.fetch = withinFetchLimits(globalThis.fetch);
  vi.stubGlobal = (name, value) =>
    stubGlobal(name, name === "fetch" ? withinFetchLimits(value as typeof fetch) : value);
  Object.assign(vi, { isWithinLimits: true });
}

// Files share a workerd: each begins with nothing of the one before.
await emptyWorld();
