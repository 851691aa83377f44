import { readFile } from "node:fs/promises";

/** A mount as the kernel lists it. */
interface MountPoint {
  /** Of the file system. */
  device: string;
  /** Which of its directories is mounted. */
  root: string;
  at: string;
}

/** A directory by what it is, not by how it is reached: two bind mounts of one directory are one place. */
interface Place {
  device: string;
  /** On that file system. */
  path: string;
}

/** What finds the place of a path that has no links in it; it answers `undefined` where the system doesn't tell mounts. */
type FindPlace = (real: string) => Place | undefined;

/** Reads this system's mounts once. */
export async function readMountPoints(): Promise<FindPlace> {
  return placesOf(await readFile("/proc/self/mountinfo", "utf8").catch(() => "")); // Linux only
}

/** The same from the text of a mountinfo file (proc(5)). */
function placesOf(mountinfo: string): FindPlace {
  const mounts = mountinfo.split("\n").flatMap(mountPoint);
  return (real) => {
    // Of two at one place, the later lies on top.
    const under = mounts.filter(({ at }) => isWithin(real, at));
    const longest = Math.max(...under.map(({ at }) => at.length));
    const mount = under.findLast(({ at }) => at.length === longest);
    if (!mount) return undefined;
    return {
      device: mount.device,
      path: joined(mount.root, real.slice(mount.at === "/" ? 0 : mount.at.length)),
    };
  };
}

function mountPoint(line: string): MountPoint[] {
  const [, , device, root, at] = line.split(" ").map(unescaped);
  return device && root && at ? [{ device, root, at }] : [];
}

/** Spaces and the like are written as `\040`. */
const unescaped = (text: string) =>
  text.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)));

const joined = (root: string, rest: string) =>
  root === "/" ? rest || "/" : `${root}${rest === "/" ? "" : rest}`;

export const isWithin = (place: string, parent: string): boolean =>
  place === parent || place.startsWith(parent === "/" ? parent : `${parent}/`);

/** Whether one of two places is, or holds, the other. */
export const areNested = (one: Place | undefined, other: Place | undefined): boolean =>
  one !== undefined &&
  other !== undefined &&
  one.device === other.device &&
  (isWithin(one.path, other.path) || isWithin(other.path, one.path));
