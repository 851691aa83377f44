const HUB = "docker.io";
/** Docker Hub's other names: the API's, the index's, and the key that `docker login` uses. */
const HUBS = new Set([HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"]);
const REGISTRY = /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\d{1,5})?$/;

/** A registry as logins know it: host and port, `docker.io` for Docker Hub. Undefined: it is none. */
export function toRegistry(given: string): string | undefined {
  const host = given
    .toLowerCase()
    .replace(/^https?:\/\//, "")
    .replace(/\/(v[12]\/?)?$/, "");
  if (HUBS.has(host)) return HUB;
  return REGISTRY.test(host) && host.length <= 253 ? host : undefined;
}

/**
 * The registry that an image comes from, by Docker's rule: the first part is one if it could be a host's name, else it
 * means Docker Hub. Undefined: no registry knows it (a local image id, a directory).
 */
export function registryOf(image: string): string | undefined {
  if (/^(?:file:|sha256:)/.test(image)) return undefined;
  const [first = "", ...rest] = image.split("/");
  const isHost = rest.length > 0 && (/[.:]/.test(first) || first === "localhost");
  return isHost ? toRegistry(first) : HUB;
}
