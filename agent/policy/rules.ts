import type { InstanceSpec } from "../../src/protocol/agent/instance.ts";
import type { Job } from "../../src/protocol/agent/jobs.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { DEFAULT_CAPABILITIES, NEVER_CAPABILITIES } from "./capabilities.ts";
import type { PolicyRules } from "./file.ts";
import { matchesGlob } from "./glob.ts";
import { closedPath, resolveHostPath } from "./host-paths.ts";
import { matchesImage } from "./images.ts";

type Container = Pick<InstanceSpec, "volumes" | "container" | "network" | "resources">;

/** What a job asks of the host, as far as rules are about it. */
export interface Ask {
  /** In words. */
  what: string;
  kind: "pull" | "start" | "run" | "command" | "accessory";
  image: string;
  /** Absent: nothing is run yet. */
  container?: Container;
  /** The instance that would be one more. */
  instance?: string;
}

/** What a job asks for; `undefined` for those that only end things or read. */
export function askOf(job: Job): Ask | undefined {
  if (job.kind === "pull") return { what: `image ${job.image}`, kind: job.kind, image: job.image };
  if (job.kind === "start") {
    const { spec } = job;
    const what = `instance ${spec.instance} of ${spec.app}`;
    return { what, kind: job.kind, image: spec.image, container: spec, instance: spec.instance };
  }
  if (job.kind === "run") {
    const what = `the ${job.hook} hook of ${job.app} ${job.version}`;
    return { what, kind: job.kind, image: job.image, container: job };
  }
  // A scheduled process is the app's own, as its workers are: what a person may run here is another matter.
  if (job.kind === "command") {
    const kind = job.process === "" ? job.kind : "start";
    const what = job.process === "" ? `a command in ${job.app}` : `${job.process} of ${job.app}`;
    return { what: `${what} ${job.version}`, kind, image: job.image, container: job };
  }
  if (job.kind === "accessory" && (job.action === "start" || job.action === "upgrade")) {
    const { spec } = job;
    return { what: `accessory ${spec.accessory}`, kind: job.kind, image: spec.image, container: spec };
  }
  return undefined;
}

/** Host directories that a container mounts. */
export const directoriesOf = (container: Container | undefined): string[] =>
  (container?.volumes ?? []).map(({ source }) => source).filter((source) => source.startsWith("/"));

/** Names that this agent's volumes and networks begin with: what other programs have on the engine is not control's. */
const OWN_NAME = /^sluice-[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** Where the line of `sluice hosts enroll --container` keeps the agent's state. */
const AGENTS_OWN: ReadonlySet<string> = new Set(["sluice-agent"]);

/**
 * What no host gives any container, with or without a policy: it would own the host. There is no field for privileged, for the
 * host's network, processes or devices; this closes the ways round that.
 */
export async function neverAllowed({ container }: Ask, own: readonly string[]): Promise<string | undefined> {
  if (!container) return undefined;
  const { volumes, network, container: walls } = container;
  const capability = walls.capabilities?.find((name) => NEVER_CAPABILITIES.has(name));
  if (capability) return `the capability ${capability} would give the app the host`;
  if (network !== undefined && !OWN_NAME.test(network))
    return `network ${network} is none of Sluice's own (their names begin with sluice-): the host's network and those of other programs are closed to apps`;
  for (const { source } of volumes) {
    if (!source.startsWith("/")) {
      if (AGENTS_OWN.has(source))
        return `volume ${source} holds the agent's own credentials: with it the app would own the host`;
      if (!OWN_NAME.test(source))
        return `volume ${source} is none of Sluice's own (their names begin with sluice-)`;
      continue;
    }
    const closed = await closedPath(source, own);
    if (closed) return `the directory ${closed}`;
  }
  return undefined;
}

interface Host {
  runtime: Runtime["name"];
  /** Instances beside the one that is asked for. */
  others: number;
}

/** Why a host's own rules refuse what is asked for; `undefined` when they don't. */
export async function refusedBy(rules: PolicyRules, ask: Ask, host: Host): Promise<string | undefined> {
  // A host of plain processes runs directories, and its process root says which.
  if (host.runtime === "docker" && !rules.images.some((pattern) => matchesImage(pattern, ask.image)))
    return `image ${ask.image} is none of those it allows (${rules.images.join(", ") || "none"})`;
  if (ask.kind === "run" && !rules.hooks) return "it allows no hooks (hooks: false)";
  if (ask.kind === "command" && !rules.commands) return "it allows no commands (commands: false)";
  if (ask.kind === "accessory" && !rules.accessories) return "it allows no accessories (accessories: false)";
  const { instances } = rules.limits;
  if (ask.instance !== undefined && instances !== undefined && host.others >= instances)
    return `this host has ${host.others} instances, and it allows ${instances} (limits.instances)`;
  const { container } = ask;
  if (!container) return undefined;
  return (
    limited(rules.limits, container.resources) ??
    (host.runtime === "docker" ? walled(rules, container) : undefined) ??
    (await mounted(rules.volumes, container.volumes))
  );
}

function limited(limits: PolicyRules["limits"], resources: Container["resources"]): string | undefined {
  const { cpus, memoryBytes } = resources;
  const wants = (key: string, limit: string) => `resources.${key} must be set (${limit})`;
  if (cpus === undefined && (limits.cpus !== undefined || limits.required))
    return wants("cpus", limits.cpus === undefined ? "limits.required" : `at most ${limits.cpus}`);
  if (memoryBytes === undefined && (limits.memory !== undefined || limits.required))
    return wants(
      "memory",
      limits.memory === undefined ? "limits.required" : `at most ${limits.memory} bytes`,
    );
  if (cpus !== undefined && cpus > (limits.cpus ?? cpus))
    return `resources.cpus is ${cpus}, and it allows ${limits.cpus} (limits.cpus)`;
  if (memoryBytes !== undefined && memoryBytes > (limits.memory ?? memoryBytes))
    return `resources.memory is ${memoryBytes} bytes, and it allows ${limits.memory} (limits.memory)`;
  return undefined;
}

function walled(rules: PolicyRules, { container, network }: Container): string | undefined {
  const { capabilities = DEFAULT_CAPABILITIES } = container;
  const beyond = capabilities.filter((name) => !rules.capabilities.includes(name));
  const whose = container.capabilities
    ? "container.capabilities asks for"
    : "without container.capabilities it has";
  if (beyond.length > 0)
    return `${whose} ${beyond.join(", ")}, and it allows ${rules.capabilities.join(", ") || "none"} (capabilities)`;
  if (network !== undefined && !rules.networks) return "it allows no private networks (networks: false)";
  return undefined;
}

async function mounted(
  rules: PolicyRules["volumes"],
  volumes: Container["volumes"],
): Promise<string | undefined> {
  for (const { source } of volumes) {
    if (!source.startsWith("/")) {
      if (!rules.named) return `volume ${source} is one by name, and it allows none (volumes.named: false)`;
      continue;
    }
    // That it is no link, no host allows otherwise; one that is made later could be a link by then.
    if (!(await resolveHostPath(source)).exists)
      return `the directory ${source} does not exist, or can't be seen by this agent (in a container: mount it there at the same path)`;
    if (rules.directories.some((pattern) => matchesGlob(pattern, source))) continue;
    return `the directory ${source} is none of those it allows (${rules.directories.join(", ") || "none"})`;
  }
  return undefined;
}
