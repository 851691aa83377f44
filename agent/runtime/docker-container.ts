import { type InstanceSpec, instanceSpecSchema } from "../../src/protocol/agent.ts";
import { identityEnv, type RunSpec, runEnv } from "./runtime.ts";

/**
 * Capabilities an ordinary web image needs while it starts as root: its entrypoint fixes owners (CHOWN, FOWNER,
 * DAC_OVERRIDE), drops to its user (SETUID, SETGID), binds port 80 (NET_BIND_SERVICE) and signals its workers (KILL).
 * Raw sockets, mknod, chroot and the rest are for no web app, and no-new-privileges keeps setuid binaries from asking.
 */
const CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"];

export const LABEL = "sluice";

/** Name of the container: one per instance, so that the engine itself refuses a second. */
export const containerName = (instance: string): string => `sluice-${instance}`;

/** Name of a hook's container. No instance's name begins like it. */
export const runName = (run: string): string => `sluice.run-${run}`;

/** Name of an accessory's container. */
export const accessoryName = (accessory: string): string => `sluice.acc-${accessory}`;

/** Of a hook's output, which nobody chose bounds for. */
const RUN_LOGGING = { maxSizeBytes: 10_000_000, maxFiles: 3 };

/** The body of `POST /containers/create` for an instance. Pure, so that it can be compared word by word. */
export function containerConfig(spec: InstanceSpec, host: string) {
  const port = `${spec.containerPort}/tcp`;
  return {
    Image: spec.image,
    ...(spec.command && { Cmd: spec.command }),
    Env: envOf(identityEnv(spec, spec.containerPort)),
    Labels: labels(spec, host),
    ExposedPorts: { [port]: {} },
    StopTimeout: Math.ceil(spec.stopGraceMs / 1000),
    HostConfig: {
      PortBindings: { [port]: [{ HostIp: "127.0.0.1", HostPort: String(spec.hostPort) }] },
      ...walls(spec),
    },
  };
}

/** The same for a hook: as walled in as an instance, but without a port and without a health to be asked for. */
export function runConfig(spec: RunSpec, host: string) {
  return {
    Image: spec.image,
    Cmd: spec.command,
    Env: envOf(runEnv(spec)),
    Labels: {
      [`${LABEL}.host`]: host,
      [`${LABEL}.run`]: spec.run,
      [`${LABEL}.hook`]: spec.hook,
      ...releaseLabels(spec),
    },
    Healthcheck: { Test: ["NONE"] },
    HostConfig: walls({ ...spec, logging: RUN_LOGGING }),
  };
}

const envOf = (env: Record<string, string>) => Object.entries(env).map(([name, value]) => `${name}=${value}`);

function walls({ resources, logging }: Pick<InstanceSpec, "resources" | "logging">) {
  const { cpus, memoryBytes, memoryReservationBytes } = resources;
  return {
    // The agent restarts: it knows the back-off and the instance's state, and reports both.
    RestartPolicy: { Name: "no" },
    Init: true,
    SecurityOpt: ["no-new-privileges"],
    CapDrop: ["ALL"],
    CapAdd: CAPABILITIES,
    LogConfig: {
      Type: "json-file",
      Config: { "max-size": String(logging.maxSizeBytes), "max-file": String(logging.maxFiles) },
    },
    ...(cpus && { NanoCpus: Math.round(cpus * 1e9) }),
    // Swap counts as memory: an app over its limit is told so, not slowed until its probes time out.
    ...(memoryBytes && { Memory: memoryBytes, MemorySwap: memoryBytes }),
    ...(memoryReservationBytes && { MemoryReservation: memoryReservationBytes }),
  };
}

function labels(spec: InstanceSpec, host: string): Record<string, string> {
  return {
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
