import { realpath, stat } from "node:fs/promises";
import path from "node:path";
import { areNested, isWithin, readMountPoints } from "./mount-points.ts";

/** Whoever can write, or in part only read, one of these owns the host, or all that runs on it. */
const CLOSED = [
  "/bin",
  "/boot",
  "/dev",
  "/etc",
  "/lib",
  "/lib32",
  "/lib64",
  "/libx32",
  "/proc",
  "/root",
  "/run",
  "/sbin",
  "/sys",
  "/usr",
  "/var/lib/containerd",
  "/var/lib/containers",
  "/var/lib/docker",
  "/var/lib/dpkg",
  "/var/lib/kubelet",
  "/var/lib/rpm",
  "/var/lib/sluice",
  "/var/lib/snapd",
  "/var/lib/systemd",
  "/var/run",
  "/var/spool/cron",
];

/** A host directory as it really is: links followed as far as this process sees them. */
export interface RealDirectory {
  real: string;
  exists: boolean;
}

/** Follows links as the engine will. What doesn't exist is resolved from its nearest parent that does. */
export async function resolveHostPath(source: string): Promise<RealDirectory> {
  const rest: string[] = [];
  for (let place = path.resolve(source); ; place = path.dirname(place)) {
    try {
      return { real: path.join(await realpath(place), ...rest), exists: rest.length === 0 };
    } catch {
      // Not there, or not for this user to see: its parent is.
      if (place === path.dirname(place)) return { real: path.resolve(source), exists: false };
      rest.unshift(path.basename(place));
    }
  }
}

/**
 * Why a host path can't be mounted on any host, whatever its policy says; `undefined` when it can. `own` are further places
 * that are closed on this one: the agent's program and state, its policy, the engine's socket and data.
 */
export async function closedPath(source: string, own: readonly string[]): Promise<string | undefined> {
  if (source.split("/").includes("..")) return `${source} contains \`..\``;
  const { real } = await resolveHostPath(source);
  const named = real === path.resolve(source) ? source : `${source} (really ${real})`;
  // Judged by name and by where it leads: the agent may run in a container and not see the host's links.
  for (const place of [path.resolve(source), real]) {
    const personal = personalPlace(place);
    if (personal) return `${named} ${personal}`;
  }
  const closed = await nestedWith([path.resolve(source), real], [...CLOSED, ...own]);
  if (closed !== undefined) return `${named} is, or holds, ${closed}: with it the app would own the host`;
  // The engine follows links anew at each start, and what they lead to may be another place by then.
  if (source !== real) return `${named} is not written as it really is: links are not followed, name ${real}`;
  const found = await stat(real).catch(() => undefined); // not to be seen from here: the engine says if it is missing
  if (found && !found.isDirectory() && !found.isFile()) return `${named} is a socket or a device`;
  return undefined;
}

function personalPlace(place: string): string | undefined {
  if (place === "/home" || path.dirname(place) === "/home") return "holds people's keys and profiles";
  return place.split("/").includes(".ssh") ? "holds keys" : undefined;
}

/** Which of these closed places one of the others is, holds, or lies in: by path, by link, or by another mount of it. */
async function nestedWith(places: readonly string[], closed: readonly string[]): Promise<string | undefined> {
  const placeOf = await readMountPoints();
  const mounted = places.map(placeOf);
  for (const one of closed) {
    const { real } = await resolveHostPath(one);
    const isPath = places.some((place) =>
      [one, real].some((other) => isWithin(place, other) || isWithin(other, place)),
    );
    if (isPath || mounted.some((place) => areNested(place, placeOf(real)))) return one;
  }
  return undefined;
}

/** A pattern for directories as they really are: the part before its first wildcard is a place like any other. */
export async function realPattern(pattern: string): Promise<string> {
  const parts = pattern.split("/");
  const wild = parts.findIndex((part) => part.includes("*"));
  const fixed = wild < 0 ? parts : parts.slice(0, wild);
  const { real } = await resolveHostPath(fixed.join("/") || "/");
  return [real, ...(wild < 0 ? [] : parts.slice(wild))].join("/");
}

/**
 * Two patterns of which one may be beneath the other. An app that may write the upper directory could put a link in the place
 * of the lower between the look at it and its mounting: no look is quick enough for that.
 */
export function nestedPatterns(patterns: readonly string[]): [upper: string, lower: string] | undefined {
  for (const upper of patterns) {
    const parts = upper.split("/");
    const lower = patterns.find((other) => {
      const others = other.split("/");
      return others.length > parts.length && parts.every((part, n) => mayMeet(part, others[n] ?? ""));
    });
    if (lower !== undefined) return [upper, lower];
  }
  return undefined;
}

const mayMeet = (part: string, other: string) => part === other || part.includes("*") || other.includes("*");
