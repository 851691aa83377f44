import type { RoutingTable, TableInstance, TableRelease } from "../../src/domain/routing/table.ts";

/** A valid routing table for shop.test with one release, `r1`, on the given origins; `overrides` replace fields. */
export function tableOf(
  origins: readonly string[],
  overrides: Partial<Omit<RoutingTable, "schema">> = {},
): RoutingTable {
  return {
    schema: 1,
    environment: "env_1",
    app: "shop",
    environmentName: "production",
    version: 1,
    publishedAt: 1_790_000_000_000,
    hostnames: ["shop.test"],
    salt: "rollout-1",
    affinity: { kind: "cookie" },
    releases: [releaseOf("r1", 10_000, origins)],
    stable: "r1",
    partialUntil: null,
    match: null,
    mirror: null,
    mode: { kind: "open" },
    previewKey: "00112233445566778899aabbccddeeff",
    originSuffixes: [],
    timeouts: { responseMs: 5_000 },
    showRelease: true,
    ...overrides,
  };
}

/** A release with one ready instance per origin: `r1-0`, `r1-1`, … */
export function releaseOf(
  id: string,
  weightBp: number,
  origins: readonly (string | Omit<TableInstance, "id">)[],
): TableRelease {
  const instances = origins.map((origin, index) => ({
    id: `${id}-${index}`,
    ...(typeof origin === "string" ? { origin, ready: true } : origin),
  }));
  return { id, version: id.replace(/^r/, "v"), weightBp, instances };
}
