import type { EnvironmentSpec } from "../../src/domain/spec.ts";

export const DIGEST = `sha256:${"ab".repeat(32)}`;
export const OTHER_DIGEST = `sha256:${"cd".repeat(32)}`;

/** What a small manifest comes to: two instances, ten minutes warm. */
export function aSpec(change: Partial<EnvironmentSpec> = {}): EnvironmentSpec {
  const probe = { path: "/ready", intervalMs: 250, timeoutMs: 1_000, failures: 3, successes: 1 };
  return {
    app: "shop",
    environment: "production",
    image: "ghcr.io/acme/shop",
    port: 3000,
    env: {},
    health: { startup: { ...probe, deadlineMs: 60_000 }, readiness: probe },
    resources: {},
    logging: { maxSizeBytes: 10_000_000, maxFiles: 3 },
    drainMs: 30_000,
    stopGraceMs: 30_000,
    hostnames: ["shop.example.com"],
    hosts: {},
    replicas: 2,
    strategy: { kind: "blue-green" },
    keepMs: 600_000,
    affinity: { kind: "cookie" },
    timeouts: { responseMs: 30_000 },
    showRelease: true,
    deadlines: { prepareMs: 600_000, verifyMs: 60_000, releaseMs: 7_200_000 },
    ...change,
  };
}
