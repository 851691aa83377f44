import type { AnalysisSpec, EnvironmentSpec, WeightStep } from "../../../src/domain/spec.ts";

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
    marks: "rollout",
    hooks: {},
    smoke: [],
    rules: { allow: [], freeze: [] },
    deadlines: {
      prepareMs: 600_000,
      hookMs: 900_000,
      pauseMs: 86_400_000,
      verifyMs: 60_000,
      releaseMs: 7_200_000,
    },
    ...change,
  };
}

type CanarySpec = Extract<EnvironmentSpec["strategy"], { kind: "canary" }>;

/** 10 % for a minute, 50 % for a minute, all; judged throughout. */
export function aCanary(
  change: { steps?: CanarySpec["steps"]; analysis?: Partial<AnalysisSpec> } = {},
): CanarySpec {
  return {
    kind: "canary",
    steps: change.steps ?? [weightStep(1_000, 60_000), weightStep(5_000, 60_000), weightStep(10_000)],
    analysis: {
      enabled: true,
      warmUpMs: 0,
      onInconclusive: "ask",
      onFailure: "rollback",
      maxWaitMs: 600_000,
      ...change.analysis,
    },
  };
}

export const weightStep = (weightBp: number, bakeMs = 0, rest: Partial<WeightStep> = {}): WeightStep => ({
  kind: "weight",
  weightBp,
  bakeMs,
  match: null,
  mirrorBp: 0,
  ...rest,
});
