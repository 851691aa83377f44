import type { RunSpec } from "../../agent/runtime/runtime.ts";
import type { InstanceSpec } from "../../src/protocol/agent/instance.ts";

/** A spec with quick probes; `over` says what a test is about. */
export function specOf(
  over: Partial<InstanceSpec> & Pick<InstanceSpec, "instance" | "hostPort" | "image">,
): InstanceSpec {
  return {
    release: "rel-1",
    version: "v1",
    app: "hello",
    environment: "production",
    fence: 1,
    slot: 0,
    containerPort: 3000,
    env: {},
    health: healthOf(),
    resources: {},
    logging: { maxSizeBytes: 1_000_000, maxFiles: 2 },
    stopGraceMs: 5_000,
    volumes: [],
    container: { readOnly: false, tmpfs: [], ulimits: {} },
    ...over,
  };
}

export function healthOf(
  over: { deadlineMs?: number; liveness?: boolean; timeoutMs?: number } = {},
): InstanceSpec["health"] {
  const check = { intervalMs: 50, timeoutMs: over.timeoutMs ?? 1_000, failures: 2, successes: 1 };
  return {
    startup: { ...check, path: "/health", deadlineMs: over.deadlineMs ?? 15_000 },
    readiness: { ...check, path: "/ready" },
    ...(over.liveness && { liveness: { ...check, path: "/live" } }),
  };
}

export function runOf(over: Partial<RunSpec> & Pick<RunSpec, "run" | "image" | "command">): RunSpec {
  return {
    hook: "expand",
    release: "rel-1",
    version: "v1",
    app: "hello",
    environment: "production",
    fence: 1,
    env: {},
    resources: {},
    volumes: [],
    container: { readOnly: false, tmpfs: [], ulimits: {} },
    ...over,
  };
}
