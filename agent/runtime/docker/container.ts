import type { AccessorySpec } from "../../../src/protocol/agent/accessory.ts";
import { type InstanceSpec, instanceSpecSchema } from "../../../src/protocol/agent/instance.ts";
import { DEFAULT_CAPABILITIES } from "../../policy/capabilities.ts";
import { identityEnv, type RunSpec, runEnv } from "../runtime.ts";

export const LABEL = "sluice";

/** Every label that anything here is found or judged by. */
const LABELS = [
  ...["host", "instance", "run", "hook", "accessory", "spec", "job"],
  ...["release", "app", "environment", "version", "fence"],
  ...["cloudflared", "cloudflared.port", "cloudflared.token"],
];

/** An image's own labels become its container's: those that aren't set are to say nothing, whatever the image says. */
export const blankLabels = (): Record<string, string> =>
  Object.fromEntries(LABELS.map((name) => [`${LABEL}.${name}`, ""]));

/** No app needs more processes and threads; a fork bomb stops here, before the host has no process ids left. */
const PIDS = 2_048;

/** Name of the container: one per instance, so that the engine itself refuses a second. */
export const containerName = (instance: string): string => `sluice-${instance}`;

/** Name of a hook's container. No instance's name begins like it. */
export const runName = (run: string): string => `sluice.run-${run}`;

/** Of a hook's output, which nobody chose bounds for. */
const RUN_LOGGING = { maxSizeBytes: 10_000_000, maxFiles: 3 };

/** The body of `POST /containers/create` for an instance. Pure, so that it can be compared word by word. */
export function containerConfig(spec: InstanceSpec, host: string) {
  return {
    Image: spec.image,
    ...(spec.command && { Cmd: spec.command }),
    Env: envOf(identityEnv(spec, spec.containerPort)),
    Labels: labels(spec, host),
    StopTimeout: Math.ceil(spec.stopGraceMs / 1000),
    ...insteadOfImage(spec),
    ...portOf(spec).exposed,
    HostConfig: { ...portOf(spec).bound, ...walls(spec) },
  };
}

/** A worker has no port, and the image's HEALTHCHECK asks the web that it is not. */
function portOf({ containerPort, hostPort, worker }: InstanceSpec) {
  if (worker) return { exposed: { Healthcheck: { Test: ["NONE"] } }, bound: {} };
  const port = `${containerPort}/tcp`;
  return {
    exposed: { ExposedPorts: { [port]: {} } },
    bound: { PortBindings: { [port]: [{ HostIp: "127.0.0.1", HostPort: String(hostPort) }] } },
  };
}

/** The same for a hook: as walled in as an instance, but without a port and without a health to be asked for. */
export function runConfig(spec: RunSpec, host: string) {
  return {
    Image: spec.image,
    Cmd: spec.command,
    Env: envOf(runEnv(spec)),
    Labels: {
      ...blankLabels(),
      [`${LABEL}.host`]: host,
      [`${LABEL}.run`]: spec.run,
      [`${LABEL}.hook`]: spec.hook,
      ...releaseLabels(spec),
    },
    ...insteadOfImage(spec),
    Healthcheck: { Test: ["NONE"] },
    HostConfig: walls({ ...spec, logging: RUN_LOGGING }),
  };
}

export const envOf = (env: Record<string, string>): string[] =>
  Object.entries(env).map(([name, value]) => `${name}=${value}`);

/** What decides where a container lives: the same for instances, hooks and accessories. */
export type Housing = Pick<AccessorySpec, "volumes" | "container" | "network">;

/** What the spec says in the place of the image. */
export function insteadOfImage({ container }: Housing) {
  const { stopSignal, entrypoint, user, healthcheck } = container;
  return {
    ...(stopSignal && { StopSignal: stopSignal }),
    ...(entrypoint && { Entrypoint: entrypoint }),
    ...(user && { User: user }),
    ...(healthcheck && { Healthcheck: healthcheckOf(healthcheck) }),
  };
}

const NANO = 1e6;
function healthcheckOf(check: NonNullable<Housing["container"]["healthcheck"]>) {
  if (check === "off") return { Test: ["NONE"] };
  const { command, intervalMs, timeoutMs, startPeriodMs, failures } = check;
  return {
    Test: ["CMD", ...command],
    Interval: intervalMs * NANO,
    Timeout: timeoutMs * NANO,
    StartPeriod: startPeriodMs * NANO,
    Retries: failures,
  };
}

/**
 * The part of `HostConfig` that walls a container in: instances, hooks and accessories alike. Nothing here can make a container privileged or give it the host's network, processes or devices.
 */
export function walls(spec: Housing & Pick<InstanceSpec, "resources" | "logging">) {
  const { container, network, resources, logging } = spec;
  const { cpus, memoryBytes, memoryReservationBytes } = resources;
  return {
    // The agent restarts: it knows the back-off and the instance's state, and reports both.
    RestartPolicy: { Name: "no" },
    Init: container.init ?? true,
    ...(container.groups && { GroupAdd: container.groups }),
    ...(container.extraHosts && { ExtraHosts: container.extraHosts }),
    SecurityOpt: ["no-new-privileges"],
    CapDrop: ["ALL"],
    // As the engine writes them itself since API 1.41, so that what was asked for and what is can be compared.
    CapAdd: (container.capabilities ?? DEFAULT_CAPABILITIES).map((name) => `CAP_${name}`),
    PidsLimit: PIDS,
    ReadonlyRootfs: container.readOnly,
    Mounts: mounts(spec),
    ...tmpfs(container.tmpfs),
    ...ulimits(container.ulimits),
    ...(container.shmBytes && { ShmSize: container.shmBytes }),
    ...(network && { NetworkMode: network }),
    LogConfig: {
      Type: "json-file",
      Config: { "max-size": String(logging.maxSizeBytes), "max-file": String(logging.maxFiles) },
    },
    ...(cpus && { NanoCpus: Math.round(cpus * 1e9) }),
    // Swap counts as memory: an app over its limit is told so, not slowed until its checks time out.
    ...(memoryBytes && { Memory: memoryBytes, MemorySwap: memoryBytes }),
    ...(memoryReservationBytes && { MemoryReservation: memoryReservationBytes }),
  };
}

/** As `Mounts`, not `Binds`: for those the engine makes a directory that is missing, as root, and the app starts on nothing. */
const mounts = ({ volumes }: Housing) =>
  volumes.map(({ source, target, readOnly }) => ({
    Type: isDirectory(source) ? "bind" : "volume",
    Source: source,
    Target: target,
    ReadOnly: readOnly,
  }));

/** A mount's source is a directory of the host, or else the name of a volume. */
export const isDirectory = (source: string): boolean => source.startsWith("/");

/** Writable by whatever user the image has, like /tmp everywhere. */
const tmpfs = (paths: readonly string[]) =>
  paths.length > 0 && {
    Tmpfs: Object.fromEntries(paths.map((path) => [path, "rw,noexec,nosuid,nodev,mode=1777"])),
  };

function ulimits(limits: Record<string, number>) {
  const entries = Object.entries(limits);
  return entries.length > 0 && { Ulimits: entries.map(([Name, n]) => ({ Name, Soft: n, Hard: n })) };
}

function labels(spec: InstanceSpec, host: string): Record<string, string> {
  return {
    ...blankLabels(),
    [`${LABEL}.host`]: host,
    [`${LABEL}.instance`]: spec.instance,
    ...releaseLabels(spec),
    // Enough to go on probing when the journal is lost. Without the variables: labels are for everyone to read.
    [`${LABEL}.spec`]: JSON.stringify({ ...spec, env: {} }),
  };
}

const releaseLabels = (spec: InstanceSpec | RunSpec): Record<string, string> => ({
  [`${LABEL}.release`]: spec.release,
  [`${LABEL}.app`]: spec.app,
  [`${LABEL}.environment`]: spec.environment,
  [`${LABEL}.version`]: spec.version,
  [`${LABEL}.fence`]: String(spec.fence),
});

/** The spec a container was started from, or nothing when its label is missing or from another age. */
export function specOfLabels(found: Record<string, string>): InstanceSpec | undefined {
  try {
    const parsed = instanceSpecSchema.safeParse(JSON.parse(found[`${LABEL}.spec`] ?? "null"));
    return parsed.success ? parsed.data : undefined;
  } catch {
    // A label somebody edited is as good as none.
    return undefined;
  }
}
