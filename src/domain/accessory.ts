import { err, ok, type Result } from "./result.ts";
import type { AccessoryHome, EnvironmentFacts, HostFacts } from "./rollout/facts.ts";
import { type AccessorySpec, type EnvironmentSpec, networkName, volumeName } from "./spec.ts";

/** Accessories: a database, a cache beside the app. Changed when a person says so, and by nothing else. */

export type AccessoryState = "starting" | "running" | "stopping" | "stopped" | "failed";
export type AccessoryAction = "start" | "stop" | "upgrade" | "remove";

// --- where it lives -------------------------------------------------------------------------------------------------

interface NoHome {
  readonly code: "no_hosts";
  readonly detail: string;
}
interface Host {
  readonly id: string;
  readonly name: string;
}
interface Homing<H extends Host> {
  readonly spec: EnvironmentSpec;
  readonly name: string;
  /** Those that were ever started: they stay where they are. */
  readonly homes: readonly AccessoryHome[];
  /** Hosts that carry the environment's labels. */
  readonly hosts: readonly H[];
}

/** The host an accessory lives on, or would be started on; of no two it is ever guessed: its volumes can't follow. */
export function homeOf<H extends Host>({ spec, name, homes, hosts }: Homing<H>): Result<H, NoHome> {
  const no = (detail: string) => err({ code: "no_hosts" as const, detail });
  const labels = labelWords(spec);
  const all = hosts.map((host) => host.name).join(", ");
  const known = homes.find((home) => home.name === name);
  if (known) {
    const host = hosts.find(({ id }) => id === known.hostId);
    if (host) return ok(host);
    return no(
      `accessory ${name} lives on ${known.hostName}, where no instance of this environment may run (they may on ${all || "no host"}), and a private network does not span machines: give ${known.hostName} the labels${labels}, or remove ${name} and start it anew elsewhere`,
    );
  }
  const wanted = spec.accessories?.[name]?.host;
  if (wanted !== undefined) {
    const host = hosts.find((candidate) => candidate.name === wanted);
    if (host) return ok(host);
    return no(
      `accessory ${name} is to live on ${wanted}, which is not among the hosts${labels} (${all || "there are none"}): the app's instances could not reach it there. Change \`accessories.${name}.host\`, or that host's labels`,
    );
  }
  const [only, ...others] = hosts;
  if (!only) return no(`no host${labels} is enrolled: add one with \`sluice hosts enroll\``);
  if (others.length === 0) return ok(only);
  return no(
    `accessory ${name} may live on several hosts${labels} (${all}), and a private network does not span machines: name one as \`accessories.${name}.host\` in the manifest`,
  );
}

function labelWords({ hosts }: EnvironmentSpec): string {
  const labels = Object.entries(hosts).map(([key, value]) => `${key}=${value}`);
  return labels.length > 0 ? ` with ${labels.join(", ")}` : "";
}

/** Where instances can reach all accessories of their environment: one host, since a private network ends at its machine. */
export function reachable(facts: EnvironmentFacts): Result<readonly HostFacts[], NoHome> {
  const { spec, hosts, accessories: homes } = facts;
  const found = new Map<string, { host: HostFacts; name: string }>();
  for (const name of Object.keys(spec.accessories ?? {})) {
    const home = homeOf({ spec, name, homes, hosts });
    if (!home.ok) return home;
    found.set(home.value.id, { host: home.value, name });
  }
  if (found.size === 0) return ok(hosts);
  if (found.size === 1) return ok([...found.values()].map(({ host }) => host));
  const spread = [...found.values()].map(({ name, host }) => `${name} on ${host.name}`).join(", ");
  return err({
    code: "no_hosts",
    detail: `no instance can reach all accessories (${spread}), for a private network does not span machines: put them on one host`,
  });
}

// --- what it is -----------------------------------------------------------------------------------------------------

type Named = Pick<EnvironmentSpec, "app" | "environment">;

/** Names it on its host; parted as volumes are. */
export const accessoryId = ({ app, environment }: Named, name: string): string =>
  `${app}_${environment}_${name}`;

/** What it keeps its data in, by the names a person finds on the host. */
export const volumesOf = (of: Named, { volumes }: AccessorySpec): string[] =>
  volumes.map(({ source }) => volumeName(of, source));

/** The wire's AccessorySpec. `image`: pinned, when it runs again what ran before. */
export function accessoryWire(
  of: Named,
  at: { name: string; spec: AccessorySpec; image: string },
): Record<string, unknown> {
  const { secrets, host, ...spec } = at.spec;
  return {
    ...spec,
    accessory: accessoryId(of, at.name),
    name: at.name,
    app: of.app,
    environment: of.environment,
    image: at.image,
    volumes: spec.volumes.map((mount) => ({ ...mount, source: volumeName(of, mount.source) })),
    network: networkName(of),
  };
}

/** How what was started last differs from the manifest, in words; a value that may be long is only named. */
export function differences(
  running: { spec: AccessorySpec; host: string },
  declared: AccessorySpec,
): readonly string[] {
  const { spec, host } = running;
  const words: string[] = [];
  if (spec.image !== declared.image) words.push(`image ${spec.image} → ${declared.image}`);
  if (declared.host !== undefined && declared.host !== host) words.push(`host ${host} → ${declared.host}`);
  const rest = ["command", "env", "secrets", "volumes", "container", "resources", "logging"] as const;
  for (const key of rest) if (canonical(spec[key]) !== canonical(declared[key])) words.push(key);
  if (spec.stopGraceMs !== declared.stopGraceMs) words.push("stopGrace");
  return words;
}

/** JSON that does not depend on the order in which the manifest's author wrote the keys. */
const canonical = (value: unknown): string | undefined =>
  JSON.stringify(value, (_key, part: unknown) =>
    typeof part === "object" && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );

// --- what may be done with it ---------------------------------------------------------------------------------------

/** `stand`: it is so already, or on its way there. */
export type Move =
  | { readonly kind: "go"; readonly state: "starting" | "stopping" }
  | { readonly kind: "stand" }
  | { readonly kind: "refuse"; readonly detail: string };

export interface AccessoryNow {
  readonly name: string;
  readonly state: AccessoryState;
  /** What is being done with it, or was last. */
  readonly action: AccessoryAction;
}

/** What an action means in a state. Undefined: it was never started, or was removed. */
export function moveOf(now: AccessoryNow | undefined, action: AccessoryAction): Move {
  if (!now) return action === "start" ? go(action) : { kind: "refuse", detail: "it was never started" };
  const { name, state } = now;
  if (state === "starting" || state === "stopping") {
    if (now.action === action) return { kind: "stand" };
    const detail = `${name} is ${state} (${now.action}): wait for its end, which comes by itself, then say it again`;
    return { kind: "refuse", detail };
  }
  // That one runs is its host's to say: a start there changes nothing of one that does.
  if (action === "stop" && state === "stopped") return { kind: "stand" };
  if (action === "upgrade" && state === "stopped") {
    const detail = `${name} is stopped: start it first (it runs as it was), or remove it (its volumes stay) and start it as the manifest has it now`;
    return { kind: "refuse", detail };
  }
  return go(action);
}

const go = (action: AccessoryAction): Move => ({
  kind: "go",
  state: action === "start" || action === "upgrade" ? "starting" : "stopping",
});

/** An image may be large, and a database may take its time to come up. */
const START_WITHIN_MS = 900_000;
/** Beyond the grace: for the job to reach the host and the answer to come back. */
const STOP_WITHIN_MS = 60_000;

/** How long an action may take. An upgrade that fails has to put back what was there: two stops, beside the start. */
export function patienceMs(action: AccessoryAction, { stopGraceMs }: AccessorySpec): number {
  if (action === "start") return START_WITHIN_MS;
  return action === "upgrade" ? START_WITHIN_MS + 2 * stopGraceMs : STOP_WITHIN_MS + stopGraceMs;
}
