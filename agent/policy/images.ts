import { parseImageRef } from "../runtime/image-ref.ts";
import { matchesGlob } from "./glob.ts";

/** In a policy's list: any image that the engine has by its id only, wherever it came from. */
const LOCAL = "sha256:*";
/** Any image of any registry. */
const ANY = "**";

/** Part of a repository's path, as registries have it. Without this, `acme/../evil` would be beneath `acme`. */
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;

/**
 * An image by the one name that a policy's patterns are compared with: `nginx:1`, `docker.io/nginx` and
 * `index.docker.io/library/nginx@sha256:…` are all `docker.io/library/nginx`. `undefined`: it has no such name.
 */
function repositoryName(image: string): string | undefined {
  const ref = parseImageRef(image);
  if (ref?.kind !== "registry") return undefined;
  const name = fullName(ref.repository);
  const [, ...components] = name.split("/");
  return components.every((component) => COMPONENT.test(component)) ? name : undefined;
}

/** Docker's rule for what is left out: the first part is a registry if it could be a host's name. */
function fullName(repository: string): string {
  const [first = "", ...rest] = repository.split("/");
  const isHost = rest.length > 0 && /[.:]|^localhost$/.test(first);
  if (!isHost) return rest.length > 0 ? `docker.io/${repository}` : `docker.io/library/${repository}`;
  const host = first.toLowerCase();
  if (!/^(?:index\.|registry-1\.)?docker\.io$/.test(host)) return [host, ...rest].join("/");
  return rest.length === 1 ? `docker.io/library/${rest[0]}` : ["docker.io", ...rest].join("/");
}

/** What is wrong with a pattern, if anything is. */
export function patternProblem(pattern: string): string | undefined {
  if (pattern === LOCAL || pattern === ANY) return undefined;
  if (!/^[A-Za-z0-9.:/_*-]+$/.test(pattern) || pattern.includes("//") || pattern.endsWith("/"))
    return "is no image pattern: it is written like ghcr.io/acme/*";
  if (pattern.lastIndexOf(":") > pattern.lastIndexOf("/"))
    return "names a tag: a pattern names repositories, since instances run by digest";
  const first = pattern.split("/")[0] ?? "";
  // `*.io/acme/x` would let in registries that anybody may set up.
  if (/[.:]/.test(first) && first.includes("*")) return "has a wildcard in the registry: name it in full";
  return undefined;
}

/** Whether an image is one of those a pattern names. */
export function matchesImage(pattern: string, image: string): boolean {
  if (/^sha256:[0-9a-f]{64}$/.test(image)) return pattern === LOCAL;
  const name = repositoryName(image);
  if (name === undefined) return false;
  return pattern === ANY || matchesGlob(fullName(pattern), name);
}
