import { dirname, resolve } from "node:path";
import { SHIPPED } from "../../src/protocol/images.ts";
import type { Requires } from "../../src/protocol/manifest/build.ts";
import type { Manifest } from "../../src/protocol/manifest/manifest.ts";
import { gitFacts } from "../io/git.ts";
import type { ManifestFile } from "../io/manifest-file.ts";
import { CliError } from "../io/problem.ts";
import type { Session, Target } from "../session.ts";
import { hasBuildx, type ImagePlan } from "./image.ts";
import type { Repository } from "./repository.ts";
import { type Unmet, unmetByGit } from "./requires.ts";
import type { ToolOptions } from "./tool.ts";

/** All that is known before anything is done. */
export interface Voyage {
  readonly target: Target & { readonly manifest: ManifestFile };
  readonly environment: Manifest["environments"][string];
  readonly requires: Requires;
  /** Where git, tests and builds run. */
  readonly tools: ToolOptions;
  readonly repository: Repository | undefined;
  readonly unmet: readonly Unmet[];
  readonly notes: readonly string[];
  readonly plan: ImagePlan;
}

const NOTHING: Requires = { cleanTree: false, upToDate: false };

/** Looks, and changes nothing. `toHosts`: without a registry, also where the manifest names one. Throws where there is no app, or one that has no image to build. */
export async function planVoyage(session: Session, { toHosts = false } = {}): Promise<Voyage> {
  const file = session.manifest();
  const { manifest, ...at } = session.target();
  if (!manifest)
    throw new CliError(
      "usage",
      `${file.path} is ${file.manifest.app}'s: an image is built by its own app's manifest`,
      {
        next: [{ command: session.again("-f <file>"), when: `the manifest of ${at.app} is elsewhere` }],
      },
    );
  const environment = manifest.manifest.environments[at.environment];
  if (!environment) throw new CliError("usage", `${manifest.path} has no environment ${at.environment}`);
  const folder = dirname(resolve(session.cwd, manifest.path));
  const tools = { cwd: folder, env: session.env, signal: session.signal };
  const requires = environment.requires ?? NOTHING;
  const { repository, unmet, notes } = await unmetByGit(requires, tools);
  const name = toHosts ? `${SHIPPED}/${at.app}` : repositoryOf(manifest);
  const git = await gitFacts(folder, session.env);
  return {
    target: { ...at, manifest },
    environment,
    requires,
    tools,
    repository,
    unmet,
    notes,
    plan: {
      build: manifest.manifest.build ?? { context: ".", args: {}, secrets: [] },
      folder,
      repository: name,
      reference: `${name}:${tagOf(repository)}`,
      labels: labelsOf(repository, git?.url),
      hasBuildx: await hasBuildx(tools),
      toHosts: name.startsWith(`${SHIPPED}/`),
    },
  };
}

function repositoryOf({ manifest, path, lacking }: ManifestFile): string {
  const { image } = manifest;
  if (image.startsWith("file:") || image.startsWith("sha256:"))
    throw new CliError(
      "usage",
      `${path} names ${image}, which is in no registry: ship builds an image and pushes it`,
    );
  if (lacking.some(({ pointer }) => pointer === "image"))
    throw new CliError("usage", `the \`image\` of ${path} is filled in from a variable that is not set`);
  return image.replace(/@.*$/, "").replace(/:[^/:]*$/, "");
}

/** Never a branch's name: what a tag may hold is little, and a commit is what it is. */
const tagOf = (repository: Repository | undefined): string =>
  repository === undefined
    ? "untracked"
    : `${repository.sha.slice(0, 12)}${repository.changed.length > 0 ? "-dirty" : ""}`;

/** https://specs.opencontainers.org/image-spec/annotations/. No time among them: the same commit is to be the same image. */
function labelsOf(repository: Repository | undefined, url: string | undefined): Record<string, string> {
  if (!repository) return {};
  const changed = repository.changed.length > 0 ? "-dirty" : "";
  return {
    "org.opencontainers.image.revision": repository.sha + changed,
    ...(url === undefined ? {} : { "org.opencontainers.image.source": url }),
  };
}
