import { z } from "zod";

/**
 * The wire between an agent and control: `/agent/v1/*`, JSON over HTTPS, bearer token of role `agent`.
 *
 * Rules both sides rely on:
 * - A job is leased to the agent that polled it. `progress` renews the lease, `done` ends it; both carry the lease token,
 *   and a stale one is refused (409 `lease_lost`): someone else may hold the job now, so the agent drops its result.
 * - A job is idempotent by its id, an instance by its id: starting one that runs reports it, stopping one that is gone
 *   succeeds. The agent may be handed the same job twice (lease expired, answer lost) and must not do it twice.
 * - `fence` rises with each lock of the environment. The agent remembers the highest it saw per environment and refuses
 *   lower ones, so a coordinator that was paused and woke up can't act.
 * - An agent that restarts, or can't reach control, never stops a container and never changes traffic.
 */
export const AGENT_PROTOCOL = 1;

const id = z.string().min(1).max(64);
const ms = z.number().int().nonnegative();

/** An HTTP check of an instance. Durations in milliseconds. Success is any 2xx; a redirect is a failure, and is named. */
export const probeSchema = z.strictObject({
  path: z.string().startsWith("/"),
  intervalMs: ms.min(50),
  timeoutMs: ms.min(50),
  /** Consecutive failures before the verdict falls. */
  failures: z.number().int().min(1),
  /** Consecutive successes before the verdict rises. */
  successes: z.number().int().min(1),
});
export type Probe = z.infer<typeof probeSchema>;

const healthSpecSchema = z.strictObject({
  /** Polled until it first succeeds; `deadlineMs` is how long the instance may take to become ready at all. */
  startup: probeSchema.extend({ deadlineMs: ms }),
  readiness: probeSchema,
  /** Absent: never restarted for its answers, only when it exits. */
  liveness: probeSchema.optional(),
});

const capability = z.string().regex(/^[A-Z][A-Z_]{1,39}$/);

/** What a container sees of the host's disk: a volume by its name on the host, or a directory by its absolute path. */
const mountSchema = z.strictObject({
  source: z.string().min(1).max(500),
  target: z.string().startsWith("/").max(500),
  readOnly: z.boolean(),
});

/** How a container is walled in beyond what holds for all of them (no new privileges, all capabilities dropped). */
const containerSpecSchema = z.strictObject({
  /** Given back after all were dropped. Absent: what an ordinary web image needs to start as root and step down. */
  capabilities: z.array(capability).max(40).optional(),
  /** The image's own files can't be written; `tmpfs` and volumes can. */
  readOnly: z.boolean().default(false),
  /** Directories in memory. */
  tmpfs: z.array(z.string().startsWith("/")).max(20).default([]),
  ulimits: z.record(z.string().regex(/^[a-z]{2,20}$/), z.number().int().nonnegative()).default({}),
  /** Absent: the image's own, else SIGTERM. */
  stopSignal: z
    .string()
    .regex(/^SIG[A-Z0-9+-]{2,10}$/)
    .optional(),
  shmBytes: z.number().int().positive().optional(),
});

/** Who the agent is to the registry: opened for the agent that claims the job, kept nowhere. Absent: the host's own login. */
export const registryLoginSchema = z.strictObject({
  registry: z.string(),
  username: z.string(),
  password: z.string(),
});
export type RegistryLogin = z.infer<typeof registryLoginSchema>;

/** Who must have signed an image. The agent asks before anything of it runs, and takes whatever it can't find out for no. */
export const imageRuleSchema = z.strictObject({
  /** `warn`: says it, and runs the image all the same. */
  mode: z.enum(["enforce", "warn"]),
  /** `cosign sign --key`: a public key, as PEM. */
  cosign: z.strictObject({ key: z.string().max(4_000) }),
});
export type ImageRule = z.infer<typeof imageRuleSchema>;

/** Where a container lives: what it mounts, how it is walled in, which private network it shares with accessories. */
const housing = {
  volumes: z.array(mountSchema).max(50).default([]),
  container: containerSpecSchema.default({ readOnly: false, tmpfs: [], ulimits: {} }),
  /** Name of the environment's private network; absent: it has no accessories, so it needs none. */
  network: z.string().max(128).optional(),
};

/** Of the app's own image; accessories are other people's. Absent: it needs no signature. */
const verify = imageRuleSchema.optional();

/** Everything an agent needs to run one instance. */
export const instanceSpecSchema = z.strictObject({
  instance: id,
  release: id,
  /** Human label of the release, e.g. `v42`. The app gets it as SLUICE_VERSION. */
  version: z.string(),
  app: z.string(),
  environment: z.string(),
  fence: z.number().int(),
  slot: z.number().int().nonnegative(),
  /** Port on the host's loopback that the slot's tunnel hostname leads to. */
  hostPort: z.number().int().min(1).max(65535),
  /**
   * `docker`: an image pinned by digest (`repo@sha256:…`) or a local image id (`sha256:…`).
   * `process`: `file:<directory>` under the agent's process root.
   */
  image: z.string(),
  /** Port the app listens on inside its container (given to it as PORT). The process runtime gives it `hostPort` instead. */
  containerPort: z.number().int().min(1).max(65535),
  /** Overrides the image's command; the process runtime's default is `npm start`. */
  command: z.array(z.string()).min(1).optional(),
  env: z.record(z.string(), z.string()),
  health: healthSpecSchema,
  resources: z
    .strictObject({
      cpus: z.number().positive().optional(),
      memoryBytes: z.number().int().positive().optional(),
      memoryReservationBytes: z.number().int().positive().optional(),
    })
    .default({}),
  logging: z
    .strictObject({ maxSizeBytes: z.number().int().positive(), maxFiles: z.number().int().positive() })
    .default({ maxSizeBytes: 10_000_000, maxFiles: 3 }),
  /** After SIGTERM, how long the app may take before SIGKILL. */
  stopGraceMs: ms,
  ...housing,
  verify,
});
export type InstanceSpec = z.infer<typeof instanceSpecSchema>;

const jobBase = {
  id,
  lease: z.string(),
  /** The environment the job belongs to: the scope of `fence`. */
  environmentId: id,
  fence: z.number().int(),
  /** Epoch ms. After it control counts the job as failed; the agent gives up then, too. */
  deadlineAt: z.number().int(),
  /** Epoch ms. `progress` renews it. */
  leaseExpiresAt: z.number().int(),
};

/** Resolve an image to a digest and have it on this host, before anything else of the release moves. */
const pullJobSchema = z.strictObject({
  ...jobBase,
  kind: z.literal("pull"),
  image: z.string(),
  verify,
  login: registryLoginSchema.optional(),
});
/** Run one instance and report when it is ready, or exactly why it never was. */
const startJobSchema = z.strictObject({
  ...jobBase,
  kind: z.literal("start"),
  spec: instanceSpecSchema,
  /** For an image that was pruned meanwhile. */
  login: registryLoginSchema.optional(),
});
/** Stop one instance: SIGTERM, wait, SIGKILL, remove. */
const stopJobSchema = z.strictObject({
  ...jobBase,
  kind: z.literal("stop"),
  instance: id,
  graceMs: ms,
});

/**
 * Run a command to its end, once, in a release's image: a migration hook. Never twice: an agent that finds that it began
 * one and can't tell how it ended answers `hook_interrupted`, and a person looks.
 */
const runJobSchema = z.strictObject({
  ...jobBase,
  kind: z.literal("run"),
  /** Names the run on the host, as an instance id names an instance. */
  run: id,
  hook: z.enum(["expand", "contract"]),
  release: id,
  version: z.string(),
  app: z.string(),
  environment: z.string(),
  image: z.string(),
  command: z.array(z.string()).min(1),
  env: z.record(z.string(), z.string()),
  resources: instanceSpecSchema.shape.resources,
  ...housing,
  verify,
});

/** A long-lived container beside the instances (a database, a cache): changed on a person's command, never by a deploy. */
export const accessorySpecSchema = z.strictObject({
  /** `<app>-<environment>-<name>`: names it on the host. */
  accessory: id.max(128),
  /** Under which the instances of its environment reach it on their network. */
  name: z.string(),
  app: z.string(),
  environment: z.string(),
  image: z.string(),
  command: z.array(z.string()).min(1).optional(),
  env: z.record(z.string(), z.string()),
  resources: instanceSpecSchema.shape.resources,
  logging: instanceSpecSchema.shape.logging,
  stopGraceMs: ms,
  ...housing,
});
export type AccessorySpec = z.infer<typeof accessorySpecSchema>;

/**
 * `start` makes and runs it, or runs again what is there as it is; `stop` ends it and keeps its volumes and container;
 * `upgrade` replaces the container by one of this spec on the same volumes; `remove` takes the container away, never a volume.
 */
const accessoryJobSchema = z.strictObject({
  ...jobBase,
  kind: z.literal("accessory"),
  action: z.enum(["start", "stop", "upgrade", "remove"]),
  spec: accessorySpecSchema,
  login: registryLoginSchema.optional(),
});

/** Send the log lines of this environment's instances on this host to `/agent/v1/logs/{stream}` until nobody reads them. */
const logsJobSchema = z.strictObject({
  ...jobBase,
  kind: z.literal("logs"),
  stream: id,
  app: z.string(),
  environment: z.string(),
  /** Only instances of this release; absent: of all. */
  release: id.optional(),
  /** Only this accessory (its id); absent: instances. */
  accessory: z.string().max(128).optional(),
  /** Epoch ms; lines before it are left out. */
  since: z.number().int().optional(),
  /** So many last lines of each instance; absent: all. */
  tail: z.number().int().min(0).max(10_000).optional(),
  /** When the reader came, epoch ms: an instance that starts later is read from its first line. */
  from: z.number().int(),
  follow: z.boolean(),
});

export const JOB_KINDS = ["pull", "start", "stop", "run", "accessory", "logs"] as const;

export const jobSchema = z.discriminatedUnion("kind", [
  pullJobSchema,
  startJobSchema,
  stopJobSchema,
  runJobSchema,
  accessoryJobSchema,
  logsJobSchema,
]);
export type Job = z.infer<typeof jobSchema>;

const JOB_ERROR_CODES = [
  "image_not_found",
  "image_pull_failed",
  "image_unauthorized",
  /** Its container was removed from outside. */
  "instance_gone",
  "runtime_unavailable",
  "start_failed",
  "exited",
  "port_closed",
  "health_status",
  "health_redirect",
  "health_timeout",
  "health_unreachable",
  "docker_unhealthy",
  "stale_fence",
  "deadline",
  "port_in_use",
  "hook_failed",
  "hook_interrupted",
  /** The host's own policy file forbids it: control can't change that. */
  "policy_refused",
  /** The manifest wants a signature that the image doesn't have, or that can't be looked at. */
  "signature_refused",
  "disk_full",
  /** Control had no value for a secret that was named, or could not open it: no agent got the job. */
  "secrets_missing",
  "secrets_unreadable",
  "internal",
] as const;

/** Why a job failed, exactly: what a person would have looked up by hand. */
export const jobErrorSchema = z.strictObject({
  code: z.enum(JOB_ERROR_CODES),
  /** One sentence with the values in it: `GET http://127.0.0.1:20003/ready answered 503 (limit: 2xx) for 60 s`. */
  message: z.string().max(2_000),
  exitCode: z.number().int().optional(),
  /** Signal that ended the process, or `OOMKilled`. */
  signal: z.string().optional(),
  probe: z
    .strictObject({
      url: z.string(),
      status: z.number().int().optional(),
      error: z.string().optional(),
      body: z.string().max(500).optional(),
    })
    .optional(),
  /** The app's last lines, oldest first. At most 50, each at most 1,000 characters. */
  logs: z.array(z.string()).max(50).default([]),
  /** `accessory`: what ran before it still runs, or runs again. */
  kept: z.boolean().optional(),
});
export type JobError = z.infer<typeof jobErrorSchema>;

export const jobResultSchema = z.strictObject({
  /** `pull`: the image pinned, as `start` wants it. `accessory`: what its container runs, pinned. */
  image: z.string().optional(),
  /** `pull`: sha256:… of the manifest (registry), the image id (local) or the directory's content (process). */
  digest: z.string().optional(),
  /** `start`: milliseconds from container start to ready. */
  readyAfterMs: z.number().int().optional(),
  /** `start`, `stop`: the runtime's own name for it (container id, pid). */
  runtimeId: z.string().optional(),
  /** `stop`: whether it had to be killed after the grace. */
  killed: z.boolean().optional(),
  /** `run`: the command's last lines, oldest first. */
  logs: z.array(z.string()).max(50).optional(),
  /** `accessory` that was started: how the container that was there, and was kept, differs from what was asked for. */
  differs: z.string().max(500).optional(),
});
export type JobResult = z.infer<typeof jobResultSchema>;

export const jobProgressSchema = z.strictObject({ lease: z.string(), message: z.string().max(500) });
export const jobProgressAnswerSchema = z.object({ leaseExpiresAt: z.number().int() });
export const jobDoneSchema = z.discriminatedUnion("ok", [
  z.strictObject({ lease: z.string(), ok: z.literal(true), result: jobResultSchema }),
  z.strictObject({ lease: z.string(), ok: z.literal(false), error: jobErrorSchema }),
]);
export type JobDone = z.infer<typeof jobDoneSchema>;

export const RUNTIMES = ["docker", "process"] as const;

export const enrollSchema = z.strictObject({
  protocol: z.literal(AGENT_PROTOCOL),
  agentVersion: z.string(),
  /** One-time enrolment token. */
  token: z.string(),
  runtime: z.enum(RUNTIMES),
  /** Host ports of slots are `portBase + n`. */
  portBase: z.number().int().min(1024).max(65_000),
  /**
   * How the edge reaches this host without a tunnel (local, LAN), e.g. `http://127.0.0.1`: the slot's port is added.
   */
  originBase: z.url().optional(),
});
export type Enroll = z.infer<typeof enrollSchema>;

export const enrollAnswerSchema = z.object({
  host: z.object({ id, name: z.string() }),
  /** The host's own token, shown this once. */
  token: z.string(),
  slots: z.array(z.object({ slot: z.number().int(), hostPort: z.number().int(), origin: z.url() })),
});
export type EnrollAnswer = z.infer<typeof enrollAnswerSchema>;

/**
 * What the agent knows of one instance it runs. `starting` has not been ready yet; `exited` will be started again; `gone`
 * was removed from outside and can't be made again here.
 */
export const INSTANCE_REPORTS = ["starting", "ready", "unready", "exited", "gone"] as const;

/** Exits that are told of one instance: a crash loop shows in fewer. */
export const EXITS_KEPT = 8;

const exits = z.array(z.number().int()).max(EXITS_KEPT).default([]);

/**
 * What a host says of itself: with the first poll of an agent, and again when it changes. Not strict: a newer agent
 * may know more, and must not be refused its polls for it.
 */
export const hostFactsSchema = z.object({
  os: z.string().max(200),
  arch: z.string().max(40),
  node: z.string().max(40),
  /** The Docker engine; absent: none is used. `problem`: what is wrong with it, in words. */
  engine: z
    .object({
      version: z.string().max(80).optional(),
      apiVersion: z.string().max(20).optional(),
      storageDriver: z.string().max(80).optional(),
      /** Whether containers live on while the engine is restarted. */
      liveRestore: z.boolean().optional(),
      problem: z.string().max(500).optional(),
    })
    .optional(),
  /** Of its slots. `problem`: why others may take them, in words. */
  ports: z.object({ first: ms, last: ms, problem: z.string().max(500).optional() }).optional(),
  /** Of the file system with the images, or with the agent's state. */
  disk: z.object({ path: z.string().max(500), totalBytes: ms, freeBytes: ms }).optional(),
  /** The policy file's rules, in short; absent: the host has none and takes every job. */
  policy: z
    .object({
      file: z.string().max(500),
      images: z.array(z.string().max(300)).max(100),
      volumes: z.array(z.string().max(300)).max(100),
    })
    .optional(),
  /** cloudflared under this agent; absent: this host has no tunnel. */
  tunnel: z
    .object({
      state: z.enum(["starting", "connected", "down"]),
      version: z.string().max(80).optional(),
      /** Of the ingress rules that cloudflared runs. */
      configVersion: z.number().int().optional(),
      readyConnections: z.number().int().optional(),
      /** In words, for anything but `connected`. */
      cause: z.string().max(500).optional(),
    })
    .optional(),
});
export type HostFactsReport = z.infer<typeof hostFactsSchema>;

/** As it stands: what its last report said, or would have said to this boot's control. */
const instanceStateSchema = z.strictObject({
  instance: id,
  state: z.enum(INSTANCE_REPORTS),
  /** Of its last report in this boot; 0: none yet. */
  seq: ms.default(0),
  cause: z.string().max(500).optional(),
  exits,
});
export type InstanceReport = z.output<typeof instanceStateSchema>;

export const pollSchema = z.strictObject({
  protocol: z.literal(AGENT_PROTOCOL),
  agentVersion: z.string(),
  /** The agent's clock, epoch ms: control tells skew from it. */
  clock: z.number().int(),
  /** Made anew each time the agent process starts. */
  boot: z.string(),
  /** Kinds of job that it can take now; `logs` it always takes. */
  takes: z.array(z.enum(JOB_KINDS)).max(20).optional(),
  /** In its place from agents before there was `takes`: all kinds, or none. */
  wantsJobs: z.boolean().default(true),
  /** Jobs that it has and has not ended: one that is leased to this boot and not among them never reached it. */
  jobs: z.array(id).max(500).optional(),
  /** Whether it holds its wake-up socket: without it, control asks for a poll twice as often. */
  connected: z.boolean().optional(),
  /**
   * Number of the last report of this boot. Then `instances` are all that it answers for, and what control has written of
   * others is not so. Absent: it has not been able to look yet, and knows them from its journal.
   */
  seq: ms.optional(),
  instances: z.array(instanceStateSchema).max(500),
  facts: hostFactsSchema.optional(),
});
export type Poll = z.input<typeof pollSchema>;

export const pollAnswerSchema = z.object({
  jobs: z.array(jobSchema),
  /**
   * By job: which of its variables are secrets, by name. What the agent tells of these jobs and their instances, it tells
   * without the values. Beside the jobs, where an agent of before looks past it.
   */
  secrets: z.record(z.string(), z.array(z.string())).optional(),
  /** Epoch ms of control. */
  now: z.number().int(),
  /** Poll again after this long if nothing wakes the agent before (1 s busy, 30 s idle, 60 s idle with a socket). */
  pollAfterMs: ms,
  /** Rises when the host's tunnel or its token changed: ask `/agent/v1/tunnel` again. Absent: no tunnel. */
  tunnelRev: z.number().int().optional(),
  /** The agent is to trade its token for a new one at `/agent/v1/rotate`. */
  rotate: z.boolean().optional(),
});
export type PollAnswer = z.infer<typeof pollAnswerSchema>;

/** `POST /agent/v1/tunnel`: how cloudflared is to run on this host. The token is a secret: by file, never argv. */
export const tunnelAnswerSchema = z.discriminatedUnion("state", [
  /** This control plane makes no tunnels, or this host was enrolled without one. */
  z.object({ state: z.literal("none") }),
  /** Being made, or Cloudflare refuses: `cause` says what. */
  z.object({ state: z.literal("pending"), cause: z.string(), retryAfterMs: ms }),
  z.object({
    state: z.literal("ready"),
    rev: z.number().int(),
    tunnelId: z.string(),
    token: z.string(),
    /** Version of the ingress rules that must run before the slots can be reached. */
    configVersion: z.number().int(),
  }),
]);
export type TunnelAnswer = z.infer<typeof tunnelAnswerSchema>;

/**
 * `POST /agent/v1/instances/{id}/claim`: what the agent does not keep of an instance it answers for, and needs to make its
 * container again. All else it knows, and nothing of that can be changed in this way. Refused for one that is not meant to
 * run on this host any more.
 */
export const claimAnswerSchema = z.object({
  environmentId: id,
  env: z.record(z.string(), z.string()),
  /** Which of them are secrets. */
  secretNames: z.array(z.string()),
  login: registryLoginSchema.optional(),
});
export type ClaimAnswer = z.infer<typeof claimAnswerSchema>;

/** `POST /agent/v1/rotate`: the new token counts at once, the old one until the new one was first used. */
export const rotateAnswerSchema = z.object({ token: z.string() });

/** Where in an instance's log a line ends, as its runtime names it: reading on after it repeats and misses nothing. */
export const logCursorSchema = z.string().regex(/^[0-9.:]{1,40}$/);

/** One line an app wrote. */
export const logLineSchema = z.strictObject({
  /** Epoch ms. */
  at: z.number().int(),
  /** Its id, or the accessory's. */
  instance: z.string().min(1).max(128),
  /** Empty: of an accessory. */
  version: z.string().max(128),
  stream: z.enum(["stdout", "stderr"]),
  cursor: logCursorSchema,
  /** Cut to 16 KiB. */
  text: z.string().max(16_384),
});
export type LogLine = z.infer<typeof logLineSchema>;

/** Most of one chunk, but for its last line: lines, and their bytes as JSON. A body may have 1 MiB. */
export const LOG_CHUNK = { lines: 1_000, bytes: 512 * 1024 } as const;

/** `POST /agent/v1/logs/{stream}`. Sent again until it is taken: one that was taken before is not taken twice. */
export const logChunkSchema = z.strictObject({
  /** Names the chunk. */
  chunk: z.string().min(1).max(40),
  /** The first of an agent process: the answer says where to read on. */
  hello: z.boolean().default(false),
  /** Of each instance in the order it wrote them. */
  lines: z.array(logLineSchema).max(LOG_CHUNK.lines),
  /** The log was rotated away before it was read: so many bytes of it. */
  droppedBytes: ms.default(0),
  /** All that was written before has been sent; what follows was written just now. */
  live: z.boolean().default(false),
  /** The host has sent all it will. */
  end: z.boolean().default(false),
  /** Why there are no lines, or not all of them, in words. */
  problem: z.string().max(500).optional(),
});
export type LogChunk = z.input<typeof logChunkSchema>;
export const logChunkAnswerSchema = z.object({
  /** False: nobody reads any more, stop. */
  wanted: z.boolean(),
  /** False: the reader is behind. Send the same chunk again. */
  taken: z.boolean(),
  /** To a `hello`: the last line that was taken of each instance. */
  after: z.record(z.string(), logCursorSchema).optional(),
});
export type LogChunkAnswer = z.infer<typeof logChunkAnswerSchema>;

/**
 * Only transitions are reported, at least once: `seq` rises over all instances within a boot, control ignores older ones,
 * and of an instance that turned twice before control could be told only the newest is sent.
 */
export const healthReportSchema = z.strictObject({
  instance: id,
  seq: z.number().int().nonnegative(),
  state: z.enum(INSTANCE_REPORTS),
  at: z.number().int(),
  /** In words, for anything but `ready`. */
  cause: z.string().max(2_000).optional(),
  /** When it ended by itself or had to be restarted, of late, oldest first: epoch ms by the agent's clock. */
  exits,
});
export type HealthReport = z.infer<typeof healthReportSchema>;
export const healthSchema = z.strictObject({
  /** As in its polls: what another boot said counts as older. Empty from agents that numbered across boots. */
  boot: z.string().max(64).default(""),
  /** The agent's clock as it sends, epoch ms: control tells the times of exits by it. */
  clock: z.number().int().optional(),
  reports: z.array(healthReportSchema).min(1).max(100),
});

/** The only message the wake-up socket (`GET /agent/v1/wake`) ever carries downwards. Upwards: "ping", answered "pong". */
export const WAKE = "poll";
