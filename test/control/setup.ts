import { vi } from "vitest";
import { withinFetchLimits } from "./support/within-limits.ts";
import { emptyWorld } from "./support/world.ts";

// Once for all files of a workerd.
if (!("isWithinLimits" in vi)) {
  // Control reaches the network, and whatever a test puts in its place, within Cloudflare's limits. The SDK takes the global `fetch`.
  const { stubGlobal } = vi;
  globalThis.fetch = withinFetchLimits(globalThis.fetch);
  vi.stubGlobal = (name, value) =>
    stubGlobal(name, name === "fetch" ? withinFetchLimits(value as typeof fetch) : value);
  // What Workers say of the ordinary course of things is shown to nobody, and would be a message to the host each time.
  const { info } = console;
  console.info = (...said) => {
    if (!String(said[0]).startsWith('{"level":"info"')) info(...said);
  };
  Object.assign(vi, { isWithinLimits: true });
}

// Files share a workerd: each begins with nothing of the one before.
await emptyWorld();
