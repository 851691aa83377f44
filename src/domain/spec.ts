/** What a manifest says of one environment, with every default filled in. Frozen into each release made from it. */
export interface EnvironmentSpec {
  readonly app: string;
  readonly environment: string;
  /** Repository without tag or digest, or `file:<directory>` for the process runtime. */
  readonly image: string;
  readonly port: number;
  readonly command?: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly health: {
    readonly startup: ProbeSpec & { readonly deadlineMs: number };
    readonly readiness: ProbeSpec;
    readonly liveness?: ProbeSpec;
  };
  readonly resources: {
    readonly cpus?: number;
    readonly memoryBytes?: number;
    readonly memoryReservationBytes?: number;
  };
  readonly logging: { readonly maxSizeBytes: number; readonly maxFiles: number };
  readonly drainMs: number;
  readonly stopGraceMs: number;
  readonly hostnames: readonly string[];
  /** Labels a host must all carry. Empty: any host. */
  readonly hosts: Readonly<Record<string, string>>;
  readonly replicas: number;
  readonly strategy: StrategySpec;
  /** How long a replaced release stays warm for an instant rollback. */
  readonly keepMs: number;
  readonly affinity: import("./routing.ts").Affinity;
  readonly timeouts: { readonly responseMs: number };
  readonly showRelease: boolean;
  readonly deadlines: {
    readonly prepareMs: number;
    readonly verifyMs: number;
    readonly releaseMs: number;
  };
}

export interface ProbeSpec {
  readonly path: string;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly failures: number;
  readonly successes: number;
}

export interface BlueGreen {
  readonly kind: "blue-green";
}
export type StrategySpec = BlueGreen;
