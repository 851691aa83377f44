import { existsSync } from "node:fs";
import path from "node:path";

/**
 * Where this agent's own program lies: whoever may write there runs code as the agent, which has the engine. The bundle's
 * directory, or the sources' checkout with its packages; the Node that runs it; what Node compiled of it.
 */
export function programPlaces(): string[] {
  const { argv, execPath, env } = process;
  const files = [import.meta.filename, argv[1]].filter((file) => file !== undefined);
  const caches = env.NODE_COMPILE_CACHE ? [env.NODE_COMPILE_CACHE] : [];
  return [...files.map(programOf), path.dirname(execPath), ...caches];
}

/** The nearest directory above that is a package, else the file's own. */
function programOf(file: string): string {
  const own = path.dirname(path.resolve(file));
  for (let place = own; place !== path.dirname(place); place = path.dirname(place))
    if (existsSync(path.join(place, "package.json"))) return place;
  return own;
}

/** The socket of the engine that this agent speaks to, where it is a file. */
export function engineSocket(): string[] {
  const socket = (process.env.DOCKER_HOST || "unix:///var/run/docker.sock").replace(/^unix:\/\//, "");
  return socket.startsWith("/") ? [socket] : [];
}
