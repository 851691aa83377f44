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
  readonly resources: import("./processes/process.ts").Resources;
  readonly logging: { readonly maxSizeBytes: number; readonly maxFiles: number };
  readonly drainMs: number;
  readonly stopGraceMs: number;
  readonly hostnames: readonly string[];
  /** Whether a release is looked at as a visitor would, and ends where no visitor would get anything. Absent: it isn't. */
  readonly look?: "fail" | "warn" | "off";
  /** The app doesn't see the path that a hostname ends in. */
  readonly stripPrefix?: true;
  /** Labels a host must all carry. Empty: any host. */
  readonly hosts: Readonly<Record<string, string>>;
  readonly replicas: number;
  readonly strategy: StrategySpec;
  /** How long a replaced release stays warm for an instant rollback. */
  readonly keepMs: number;
  readonly affinity: import("./routing/table.ts").Affinity;
  readonly timeouts: { readonly responseMs: number };
  /** Absent in specs from before there was a choice: `errors`. */
  readonly rescue?: import("./routing/table.ts").Rescue;
  /**
   * What is done where a release turns out worse than the one before, after the switch and while a rolling one comes: it is taken
   * back, or people are told. Absent, in specs from before there was any: nothing.
   */
  readonly watch?: "on" | "alert" | "off";
  /** Requests of control's own where visitors are too few to judge a release by. Absent: none. */
  readonly load?: LoadSpec;
  /** A GET that waits far longer than its release usually takes is asked of another instance, too. */
  readonly hedge?: true;
  /** WebSockets and event streams of an instance that leaves are ended one by one over `drainMs`. */
  readonly sockets?: "spread";
  /** Patterns of paths that are built assets beside those that look like it; `off`: none is looked for elsewhere. Absent: no patterns. */
  readonly assets?: readonly string[] | "off";
  readonly marks?: import("./routing/table.ts").Marks;
  /** Of specs from before there were `marks`. */
  readonly showRelease?: boolean;
  readonly hooks: Hooks;
  readonly smoke: readonly SmokeCheck[];
  /** Names of secrets that the app gets as variables. Absent, as the next three are, in specs from before there were any. */
  readonly secrets?: readonly string[];
  readonly volumes?: readonly MountSpec[];
  readonly container?: ContainerSpec;
  /** Who must have signed the app's image. Absent: nobody. */
  readonly verify?: ImageRule;
  /** Names of accessories that have to be healthy before an instance starts. Absent as above. */
  readonly needs?: readonly string[];
  /** Workers and scheduled processes by name. Absent: none. */
  readonly processes?: Readonly<Record<string, import("./processes/process.ts").ProcessSpec>>;
  /** By name. */
  readonly accessories?: Readonly<Record<string, AccessorySpec>>;
  /** Absent in specs from before there was any. */
  readonly retention?: import("./retention.ts").Retention;
  /** What previews are made of it, by pull request. Absent: none. */
  readonly previews?: import("./previews/rule.ts").PreviewRule;
  /** It is such a preview itself: by its pull request's number, of that environment, and whose secrets it gets beside its own. */
  readonly preview?: { readonly number: number; readonly of: string; readonly secretsOf: string };
  /** Whose word a release needs beside its starter's. Absent: nobody's. */
  readonly approval?: import("./approval/approval.ts").ApprovalRule;
  /** When releases may begin. */
  readonly rules: import("./windows.ts").DeployRules;
  readonly deadlines: {
    readonly prepareMs: number;
    /** One hook. */
    readonly hookMs: number;
    /** A pause that waits for a person. */
    readonly pauseMs: number;
    readonly verifyMs: number;
    readonly releaseMs: number;
  };
}

export interface MountSpec {
  /** A volume's name as the manifest has it, or a directory of the host by its absolute path. */
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
}

/** As the wire has it (protocol/agent/image.ts). */
export type ImageRule =
  | { readonly mode: RuleMode; readonly cosign: { readonly key: string } }
  | { readonly mode: RuleMode; readonly cosign: { readonly issuer: string; readonly identity: string } }
  | { readonly mode: RuleMode; readonly attestation: { readonly github: string } };
type RuleMode = "enforce" | "warn";

/** How a container is walled in; see `containerSpecSchema` in protocol/agent/container.ts. */
export interface ContainerSpec {
  readonly capabilities?: readonly string[];
  readonly readOnly: boolean;
  readonly tmpfs: readonly string[];
  /** -1: without a limit. */
  readonly ulimits: Readonly<Record<string, number>>;
  readonly stopSignal?: string;
  readonly shmBytes?: number;
  /** False: the image's own first process is PID 1. Absent: a small init is. */
  readonly init?: boolean;
  readonly entrypoint?: readonly string[];
  /** `name`, `uid` or `uid:gid`; absent: the image's own. */
  readonly user?: string;
  readonly groups?: readonly string[];
  /** `name:address` */
  readonly extraHosts?: readonly string[];
  /** In the place of the image's own HEALTHCHECK. */
  readonly healthcheck?: ImageCheck;
  /** Texts put into the container before it starts, by their absolute paths. */
  readonly files?: Readonly<Record<string, string>>;
}

/** As Docker's HEALTHCHECK: a command that says by its exit code whether the container is healthy; or none. */
export type ImageCheck =
  | "off"
  | {
      readonly command: readonly string[];
      readonly intervalMs: number;
      readonly timeoutMs: number;
      readonly startPeriodMs: number;
      readonly failures: number;
    };

/** A long-lived container beside the app. Never touched by a release. */
export interface AccessorySpec {
  readonly image: string;
  readonly command?: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly secrets: readonly string[];
  readonly volumes: readonly MountSpec[];
  readonly container: ContainerSpec;
  readonly resources: EnvironmentSpec["resources"];
  readonly logging: EnvironmentSpec["logging"];
  readonly stopGraceMs: number;
  /** Name of the host it lives on; absent: the only host that the environment's labels fit. */
  readonly host?: string;
}

type Named = Pick<EnvironmentSpec, "app" | "environment">;

/**
 * A volume's name on the host: an environment's own, so that staging never opens production's. Parted by `_`, which no app
 * or environment has in its name: with `-` the volume `eu-data` of `prod` would be `data` of `prod-eu`.
 */
export const volumeName = (spec: Named, source: string): string =>
  source.startsWith("/") ? source : `sluice-${spec.app}_${spec.environment}_${source}`;

/** The private network that an environment's instances share with its accessories. */
export const networkName = (spec: Named): string => `sluice-${spec.app}_${spec.environment}`;

/** A check of one kind: a GET (`path`), a connection (`tcp`), or a command inside the instance. */
export interface ProbeSpec {
  readonly path?: string;
  readonly tcp?: true;
  readonly command?: readonly string[];
  /** What a GET says in `Host`; absent, in specs from before there was any: the address it goes to. */
  readonly host?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Good answers, as ranges, both ends included; absent: 200–299. */
  readonly statuses?: readonly (readonly [number, number])[];
  /** Of the instance; absent: the one that visitors get. */
  readonly port?: number;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly failures: number;
  readonly successes: number;
}

/** A number of instances, or a percentage of the replicas. */
export type Amount = { readonly count: number } | { readonly percent: number };

export const resolveAmount = (amount: Amount, replicas: number, round: (n: number) => number): number =>
  "count" in amount ? amount.count : round((amount.percent * replicas) / 100);

export interface BlueGreen {
  readonly kind: "blue-green";
}
export interface Rolling {
  readonly kind: "rolling";
  readonly maxSurge: Amount;
  readonly maxUnavailable: Amount;
}
export interface Canary {
  readonly kind: "canary";
  /** The last one is all traffic. */
  readonly steps: readonly Step[];
  readonly analysis: AnalysisSpec;
}
export type StrategySpec = BlueGreen | Rolling | Canary;

/** One thing a release does while traffic shifts. */
export type Step = WeightStep | PauseStep | AnalysisStep;
export interface WeightStep {
  readonly kind: "weight";
  readonly weightBp: number;
  /** How long it stays so before the analysis is asked. */
  readonly bakeMs: number;
  /** Who is eligible for the new release, from this step on; null: everyone. */
  readonly match: readonly import("./routing/table.ts").MatchRule[] | null;
  /** Share of GET and HEAD copied to the new release, from this step on. */
  readonly mirrorBp: number;
  /** The copies' answers are compared with stable's. Absent: dropped unread. */
  readonly compare?: "json";
  /** Fields that are to differ, with all in them; they are ignored whatever step a release is at. */
  readonly ignore?: readonly string[];
}
export interface PauseStep {
  readonly kind: "pause";
  /** Null: until a person promotes. */
  readonly forMs: number | null;
}
/** Waits for proof that the canary is no worse, at most this long. */
export interface AnalysisStep {
  readonly kind: "analysis";
  readonly forMs: number;
}

export interface AnalysisSpec {
  readonly enabled: boolean;
  /** Verdicts are told, and nothing is done by them. Absent: they act. */
  readonly mode?: "report";
  /** Fractions: 0.01 is 1 %. */
  readonly errorRateMax?: number;
  readonly p95MaxMs?: number;
  readonly warmUpMs: number;
  readonly onInconclusive: "ask" | "promote" | "abort";
  readonly onFailure: "rollback" | "pause";
  /** Beyond a step's bake: how long it may wait for proof before `onInconclusive` decides. */
  readonly maxWaitMs: number;
}

/** Synthetic visits of both releases while they share the traffic. */
export interface LoadSpec {
  /** Asked for by GET, as the app sees them. */
  readonly paths: readonly string[];
  /** Requests a second, visitors' among them. */
  readonly ratePerS: number;
  /** Their outcome counts as visitors' does. */
  readonly judge: boolean;
}

/** A request that must be answered just so, before and after the switch. */
export interface SmokeCheck {
  readonly path: string;
  readonly status: number;
  readonly contains?: string;
}

export interface Hooks {
  /** Once, in the new image, before anything of the release starts. */
  readonly expand?: readonly string[];
  /** Once, in the new image, after the rollback window. */
  readonly contract?: readonly string[];
}
