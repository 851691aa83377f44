import type { z } from "zod";
import { publicHost } from "../../domain/hostnames.ts";
import { KEPT_BY_DEFAULT, type Retention } from "../../domain/retention.ts";
import type { EnvironmentSpec } from "../../domain/spec.ts";
import { toAccessory, toContainer, toImageCheck, toLogging, toResources } from "./container.ts";
import type { environmentSchema } from "./environment.ts";
import { toHealth } from "./health.ts";
import { toLoad } from "./load.ts";
import type { Manifest } from "./manifest.ts";
import { toPreviews } from "./previews.ts";
import { toProcesses } from "./processes.ts";
import { longestMs, toStrategy } from "./strategy.ts";

const olderMarks = (showRelease: boolean | undefined) =>
  showRelease === undefined ? "rollout" : showRelease ? "always" : "never";

type Environment = z.output<typeof environmentSchema>;
/** The normalised spec of one environment: the manifest with every default filled in. */
export function toSpec(manifest: Manifest, environment: string): EnvironmentSpec | undefined {
  const env = Object.hasOwn(manifest.environments, environment)
    ? manifest.environments[environment]
    : undefined;
  if (!env) return undefined;
  const healthcheck = toImageCheck(manifest.health.image);
  const command = env.command ?? manifest.command;
  return {
    app: manifest.app,
    environment,
    image: manifest.image,
    port: env.port ?? manifest.port,
    ...(command ? { command } : {}),
    ...(manifest.verify ? { verify: manifest.verify } : {}),
    env: { ...manifest.env, ...env.env },
    health: toHealth(manifest.health, publicHost(env.hostnames)),
    resources: toResources(env.resources ?? manifest.resources),
    logging: toLogging(manifest.logging),
    container: {
      ...toContainer(manifest.container),
      ...(healthcheck === undefined ? {} : { healthcheck }),
    },
    volumes: env.volumes ?? manifest.volumes,
    secrets: [...new Set([...manifest.secrets, ...env.secrets])],
    accessories: Object.fromEntries(
      Object.entries(manifest.accessories).map(([name, accessory]) => [
        name,
        toAccessory({ ...accessory, ...env.accessories[name] }),
      ]),
    ),
    ...(manifest.needs.length > 0 ? { needs: manifest.needs } : {}),
    processes: toProcesses(manifest.processes, env.processes, manifest.stopGrace),
    drainMs: manifest.drain,
    stopGraceMs: manifest.stopGrace,
    hostnames: env.hostnames,
    look: manifest.look,
    ...(env.stripPrefix ? { stripPrefix: true } : {}),
    hosts: env.hosts,
    replicas: env.replicas,
    strategy: toStrategy(env.strategy),
    hooks: {
      ...(manifest.hooks.expand ? { expand: manifest.hooks.expand } : {}),
      ...(manifest.hooks.contract ? { contract: manifest.hooks.contract } : {}),
    },
    smoke: manifest.smoke.map(({ contains, ...check }) => ({
      ...check,
      ...(contains === undefined ? {} : { contains }),
    })),
    ...(env.approval ? { approval: toApproval(env.approval) } : {}),
    ...(env.previews ? { previews: toPreviews(env.previews) } : {}),
    rules: env.windows,
    keepMs: env.keep,
    watch: env.watch,
    ...(env.load ? { load: toLoad(env.load) } : {}),
    ...toEdge(env),
    retention: toRetention(env.retention),
    deadlines: toDeadlines(env),
  };
}

/** What the edge alone goes by. */
const toEdge = ({ affinity, timeouts, rescue, hedge, sockets, assets, marks, showRelease }: Environment) => ({
  affinity: toAffinity(affinity),
  timeouts: { responseMs: timeouts.response ?? 100_000 },
  rescue,
  ...(hedge === "on" ? ({ hedge: true } as const) : {}),
  ...(sockets === "spread" ? { sockets } : {}),
  assets,
  marks: marks ?? olderMarks(showRelease),
});

const toDeadlines = ({ deadlines, strategy }: Environment): EnvironmentSpec["deadlines"] => ({
  prepareMs: deadlines.prepare ?? 600_000,
  hookMs: deadlines.hook ?? 900_000,
  pauseMs: deadlines.pause ?? 86_400_000,
  verifyMs: deadlines.verify ?? 30_000,
  releaseMs: deadlines.release ?? longestMs(toStrategy(strategy)),
});

const toApproval = ({ before, by, deadline }: NonNullable<Environment["approval"]>) => ({
  before,
  by,
  deadlineMs: deadline,
});

function toRetention({ jobs, verdicts, events, releases }: Environment["retention"]): Retention {
  return {
    ...KEPT_BY_DEFAULT,
    ...(jobs === undefined ? {} : { jobsMs: jobs }),
    ...(verdicts === undefined ? {} : { verdictsMs: verdicts }),
    ...(events === undefined ? {} : { eventsMs: events }),
    ...(releases === undefined ? {} : { releasesMs: releases }),
  };
}

function toAffinity(given: Environment["affinity"]): EnvironmentSpec["affinity"] {
  if (given === "none") return { kind: given };
  const { by, to } = typeof given === "string" ? { by: given, to: "release" } : given;
  const kept = to === "instance" ? ({ to } as const) : {};
  if (by === "cookie" || by === "ip") return { kind: by, ...kept };
  return { kind: "header", name: by.slice("header:".length).toLowerCase(), ...kept };
}
