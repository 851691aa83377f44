/** An image reference, taken apart. `local`: an image id, which no registry knows. */
export type ImageRef =
  | { kind: "local"; id: string }
  | { kind: "registry"; registry: string; repository: string; tag?: string; digest?: string };

const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** Takes `sha256:…`, `repo`, `repo:tag`, `repo@sha256:…` or `repo:tag@sha256:…` apart; `undefined` for anything else. */
export function parseImageRef(ref: string): ImageRef | undefined {
  if (DIGEST.test(ref)) return { kind: "local", id: ref };
  const [name = "", digest, ...more] = ref.split("@");
  if (more.length > 0 || (digest !== undefined && !DIGEST.test(digest))) return undefined;
  // A colon after the last slash starts the tag; one before it is a registry's port.
  const colon = name.indexOf(":", name.lastIndexOf("/") + 1);
  const repository = colon < 0 ? name : name.slice(0, colon);
  const tag = colon < 0 ? undefined : name.slice(colon + 1);
  if (!/^[a-z0-9.:/_-]+$/i.test(repository) || (tag !== undefined && !/^[\w][\w.-]{0,127}$/.test(tag))) {
    return undefined;
  }
  return {
    kind: "registry",
    registry: registryOf(repository),
    repository,
    ...(tag !== undefined && { tag }),
    ...(digest !== undefined && { digest }),
  };
}

/** Docker's rule: the first part is a registry if it could be a host name, else it means Docker Hub. */
function registryOf(repository: string): string {
  const [first = "", ...rest] = repository.split("/");
  const isHost = rest.length > 0 && (first.includes(".") || first.includes(":") || first === "localhost");
  return isHost ? first : "docker.io";
}
