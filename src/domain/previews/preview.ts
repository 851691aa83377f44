import { publicHost } from "../hostnames.ts";
import { repositoryOf } from "../image.ts";
import type { Retention } from "../retention.ts";
import type { EnvironmentSpec, ProbeSpec } from "../spec.ts";
import { NUMBER, numbered, previewName } from "./hostname.ts";
import type { PreviewRule } from "./rule.ts";

/** The secrets of all of an environment's previews are kept apart from its own, under a name of their own. */
export const previewSecretsOf = (environmentId: string): string => `${environmentId}~previews`;

const DAY_MS = 86_400_000;
/** Nobody waits for the last requests of a preview for long. */
const MOST_DRAIN_MS = 5_000;
const KEPT: Retention = {
  jobsMs: DAY_MS,
  verdictsMs: 7 * DAY_MS,
  eventsMs: 30 * DAY_MS,
  releasesMs: 30 * DAY_MS,
  servedAtLeast: 2,
};

/**
 * A preview's spec: one instance of what the environment is, with nothing that the environment holds: no volume, no secret, no
 * migration, no process and no accessory but those that the rule names.
 */
export function previewSpec(
  template: EnvironmentSpec,
  rule: PreviewRule,
  { number, templateId }: { readonly number: number; readonly templateId: string },
): EnvironmentSpec {
  const { approval, previews, hooks, command, stripPrefix, ...rest } = template;
  const hostname = numbered(rule.hostname, number);
  const fill = (text: string) => text.replaceAll(NUMBER, String(number)).replaceAll("{hostname}", hostname);
  const own = Object.fromEntries(Object.entries(rule.env).map(([name, value]) => [name, fill(value)]));
  // What is both plain and secret there would be refused: here the rule's word counts.
  const env = Object.entries({ ...template.env, ...own }).filter(([name]) => !rule.secrets.includes(name));
  return {
    ...rest,
    environment: previewName(number),
    preview: {
      number,
      of: template.environment,
      secretsOf: previewSecretsOf(templateId),
    },
    image: rule.image ?? template.image,
    ...(command ? { command } : {}),
    env: Object.fromEntries(env),
    secrets: rule.secrets,
    health: healthAt(template, hostname),
    hostnames: [hostname],
    hosts: rule.hosts ?? template.hosts,
    resources: rule.resources ?? template.resources,
    replicas: 1,
    strategy: { kind: "blue-green" },
    rules: { allow: [], freeze: [] },
    hooks: rule.hooks && hooks.expand ? { expand: hooks.expand } : {},
    volumes: [],
    container: withoutVolumes(template),
    processes: only(template.processes, rule.processes),
    accessories: accessoriesOf(template, rule),
    needs: (template.needs ?? []).filter((name) => rule.accessories.includes(name)),
    drainMs: Math.min(template.drainMs, MOST_DRAIN_MS),
    keepMs: 0,
    retention: KEPT,
  };
}

const only = <T>(all: Readonly<Record<string, T>> | undefined, names: readonly string[]) =>
  Object.fromEntries(Object.entries(all ?? {}).filter(([name]) => names.includes(name)));

/** A volume would outlive the preview, and a directory of the host is somebody's: what is written goes with the container. */
function withoutVolumes({ container, volumes = [] }: Pick<EnvironmentSpec, "container" | "volumes">) {
  const { readOnly = false, tmpfs = [], ulimits = {}, ...rest } = container ?? {};
  const targets = readOnly ? volumes.map(({ target }) => target) : [];
  return { ...rest, readOnly, ulimits, tmpfs: [...new Set([...tmpfs, ...targets])] };
}

function accessoriesOf(template: EnvironmentSpec, rule: PreviewRule) {
  return Object.fromEntries(
    Object.entries(only(template.accessories, rule.accessories)).map(([name, accessory]) => [
      name,
      {
        ...accessory,
        volumes: [],
        container: withoutVolumes(accessory),
        // The rule's list holds for all that a preview gets.
        secrets: accessory.secrets.filter((secret) => rule.secrets.includes(secret)),
      },
    ]),
  );
}

/** Checks ask for the preview's own name where they asked for the environment's. */
function healthAt({ health, hostnames }: EnvironmentSpec, hostname: string): EnvironmentSpec["health"] {
  const at = <T extends ProbeSpec>(probe: T): T =>
    probe.host === publicHost(hostnames) ? { ...probe, host: hostname } : probe;
  const { startup, readiness, liveness } = health;
  return {
    startup: at(startup),
    readiness: at(readiness),
    ...(liveness ? { liveness: at(liveness) } : {}),
  };
}

/**
 * Why a preview may not run an image: only those of its own repository. A directory or a local image's id has none: then that
 * one alone. Null: it may.
 */
export function wrongImage({ image }: Pick<EnvironmentSpec, "image">, asked: string): string | null {
  const own = repositoryOf(image);
  if (own === null) return asked === image ? null : `previews run ${image} alone, and this is ${asked}`;
  const isOwnTag = asked.startsWith(":") || asked.startsWith("@");
  if (isOwnTag || repositoryOf(asked) === own) return null;
  return `previews run images of ${own} alone, and this is ${asked}`;
}
