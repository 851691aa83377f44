import { comparable, prefixOf, sitesOver } from "../domain/routing/site.ts";
import type { Visit } from "./visit.ts";

/** The beginning of the path that the app doesn't see, where its environment asks for that; empty: it sees all of it. */
export function strippedPrefix({ route, hostname, url }: Visit): string {
  const { stripPrefix, hostnames } = route.table;
  if (stripPrefix !== true) return "";
  const own = hostnames.filter((site) => site.startsWith(`${hostname}/`));
  return prefixOf(sitesOver(own, url.target)[0] ?? "");
}

/** Path and query for the app. Of a path that is cut, however it was spelled. */
export function appTarget(visit: Visit): string {
  const { target } = visit.url;
  const prefix = strippedPrefix(visit);
  if (prefix === "") return target;
  const query = target.search(/[?#]/);
  const path = comparable(query === -1 ? target : target.slice(0, query)).slice(prefix.length);
  return (path === "" ? "/" : path) + (query === -1 ? "" : target.slice(query));
}
