import { resolve } from "node:path";
import type { Build } from "../../src/protocol/manifest/build.ts";
import { CliError } from "../io/problem.ts";
import { ToolFailed } from "./requires.ts";
import { type Command, runTool, type ToolEnd, type ToolOptions } from "./tool.ts";

/** What is built, and as what. */
export interface ImagePlan {
  readonly build: Build;
  /** The manifest's folder. */
  readonly folder: string;
  /** `ghcr.io/acme/shop:4f2a…`. */
  readonly reference: string;
  readonly repository: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly hasBuildx: boolean;
  /** It goes to control, for hosts to fetch, and to no registry. */
  readonly toHosts: boolean;
}

const platforms = ({ platform }: Build): readonly string[] =>
  platform === undefined ? [] : typeof platform === "string" ? [platform] : platform;
/** Several platforms are no image that an engine could hold: they are pushed as they are built. */
export const isPushedByBuild = (plan: ImagePlan): boolean => platforms(plan.build).length > 1;

/** `docker build`, as its words. Every value stands in the word of its flag, so that none can be a flag. */
export function buildCommand(plan: ImagePlan, output: "keep" | "push" = "keep"): Command {
  const { build, folder, reference, hasBuildx } = plan;
  const context = resolve(folder, build.context);
  return [
    "docker",
    ...(hasBuildx ? ["buildx", "build"] : ["build"]),
    `--tag=${reference}`,
    `--file=${resolve(context, build.dockerfile ?? "Dockerfile")}`,
    ...(build.target === undefined ? [] : [`--target=${build.target}`]),
    ...(platforms(build).length === 0 ? [] : [`--platform=${platforms(build).join(",")}`]),
    ...Object.entries(build.args).map(([name, value]) => `--build-arg=${name}=${value}`),
    ...build.secrets.map((name) => `--secret=id=${name},env=${name}`),
    ...Object.entries(plan.labels).map(([name, value]) => `--label=${name}=${value}`),
    ...(hasBuildx ? buildxFlags(plan, output) : []),
    context,
  ];
}

function buildxFlags(plan: ImagePlan, output: "keep" | "push"): string[] {
  const loads = isPushedByBuild(plan) ? [] : ["--load"];
  return [
    "--progress=plain",
    // An attestation has the time in it: the same commit, built again, would be another digest.
    "--provenance=false",
    ...cacheFlags(plan),
    ...(output === "push" ? ["--push"] : loads),
  ];
}

function cacheFlags({ build, repository, toHosts }: ImagePlan): string[] {
  if (build.cache === "gha")
    return ["--cache-from=type=gha", "--cache-to=type=gha,mode=max,ignore-error=true"];
  if (build.cache !== "registry" || toHosts) return [];
  const at = `type=registry,ref=${repository}:buildcache`;
  return [`--cache-from=${at}`, `--cache-to=${at},mode=max,ignore-error=true`];
}

export const pushCommand = (plan: ImagePlan): Command =>
  plan.toHosts
    ? ["docker", "save", plan.reference]
    : isPushedByBuild(plan)
      ? buildCommand(plan, "push")
      : ["docker", "push", plan.reference];

/** Throws where this machine's docker can't build what the manifest asks for. */
function refuseUnbuildable(plan: ImagePlan): void {
  const { build, hasBuildx, toHosts } = plan;
  if (toHosts && isPushedByBuild(plan))
    throw new CliError(
      "build_failed",
      "an image of several platforms lies in no engine, only in a registry: `--to-hosts` takes one platform",
      { errors: [{ pointer: "build.platform", detail: "names several, and the image goes to hosts" }] },
    );
  if (hasBuildx) return;
  const [key, words] =
    build.secrets.length > 0
      ? ["build.secrets", "build secrets need BuildKit"]
      : platforms(build).length > 1
        ? ["build.platform", "an image of several platforms needs buildx"]
        : [undefined, ""];
  if (key === undefined) return;
  throw new CliError("build_failed", `${words}, and this docker has none: install docker-buildx`, {
    errors: [{ pointer: key, detail: words }],
  });
}

export async function hasBuildx(options: ToolOptions): Promise<boolean> {
  const { code, missing } = await runTool(["docker", "buildx", "version"], options);
  if (missing) throw noDocker("docker is not installed, or not on the PATH");
  return code === 0;
}

/** Builds it. Throws with the build's last lines. */
export async function buildImage(plan: ImagePlan, options: ToolOptions): Promise<void> {
  refuseUnbuildable(plan);
  const ended = await runTool(buildCommand(plan), options);
  if (ended.code !== 0) throw failureOf("build_failed", "the image was not built", ended);
}

/** Pushes it, and answers the digest that the registry has it under; undefined: docker didn't say. */
export async function pushImage(plan: ImagePlan, options: ToolOptions): Promise<string | undefined> {
  const ended = await runTool(pushCommand(plan), options);
  if (ended.code !== 0) throw failureOf("push_failed", `${plan.reference} was not pushed`, ended);
  const lines = ended.tail.toReversed();
  return (
    digestIn(lines.find((line) => /\bdigest: sha256:/.test(line))) ??
    digestIn(lines.find((line) => /pushing manifest for /.test(line)))
  );
}

const digestIn = (line: string | undefined) => /sha256:[0-9a-f]{64}/.exec(line ?? "")?.[0];

/** The digest under which this engine knows the reference at its registry: from a push of an earlier run. */
export async function knownDigest(plan: ImagePlan, options: ToolOptions): Promise<string | undefined> {
  const format = "--format={{range .RepoDigests}}{{println .}}{{end}}";
  const { code, stdout } = await runTool(["docker", "image", "inspect", format, plan.reference], options);
  if (code !== 0) return undefined;
  const own = stdout.split("\n").filter((line) => line.startsWith(`${plan.repository}@sha256:`));
  // Two of one repository: which of them the tag means, only the registry knows.
  return own.length === 1 ? digestIn(own[0]) : undefined;
}

interface Cause {
  readonly said: RegExp;
  readonly code: "docker_unavailable" | "push_failed" | "disk_full";
  readonly words: (end: ToolEnd) => string;
}

const ANSWERED = /unexpected (?:HTTP )?status(?: code)?:? .*?\b([45]\d\d\b[\w ]*)/i;

/** What docker says, and what is the matter. */
const CAUSES: readonly Cause[] = [
  {
    said: /cannot connect to the docker daemon|is the docker daemon running|error during connect|permission denied while trying to connect/i,
    code: "docker_unavailable",
    words: () => "no Docker engine answers: start it, or point DOCKER_HOST at one that this user may use",
  },
  {
    said: /no space left on device/i,
    code: "disk_full",
    words: () =>
      "the disk is full: `docker system df` says of what, `docker builder prune` frees the build's own",
  },
  {
    said: /\bdenied\b|unauthorized|no basic auth credentials|authentication required|insufficient_scope/i,
    code: "push_failed",
    words: () => "the registry refused this login: `docker login` to it, as somebody who may push there",
  },
  {
    said: /connection refused|no such host|i\/o timeout|TLS handshake|tls: /i,
    code: "push_failed",
    words: () => "the registry can't be reached",
  },
  {
    said: ANSWERED,
    code: "push_failed",
    words: ({ tail }) => `the registry answered ${ANSWERED.exec(tail.join("\n"))?.[1] ?? "with an error"}`,
  },
];

export function failureOf(code: "build_failed" | "push_failed", what: string, ended: ToolEnd): CliError {
  if (ended.missing) return noDocker("docker is not installed, or not on the PATH");
  const said = ended.tail.slice(-20).join("\n");
  const cause = CAUSES.find(
    (one) => one.said.test(said) && (code === "push_failed" || one.code !== "push_failed"),
  );
  const detail = cause
    ? `${what}: ${cause.words(ended)}`
    : `${what}: docker ended with ${ended.code ?? "a signal"}`;
  return new ToolFailed(cause?.code ?? code, detail, { tail: ended.tail });
}

const noDocker = (detail: string) => new CliError("docker_unavailable", detail);
