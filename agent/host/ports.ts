import { readFile } from "node:fs/promises";

/** Host ports of this host's slots. */
export interface SlotPorts {
  first: number;
  last: number;
}

const RANGE = "/proc/sys/net/ipv4/ip_local_port_range";
const RESERVED = "/proc/sys/net/ipv4/ip_local_reserved_ports";

/**
 * Whether the kernel may give one of the slots' ports to an outgoing connection of any program: the app then finds it taken,
 * now and then. In words, with the way out; `undefined` where it may not, or doesn't tell.
 */
export async function portsProblem(
  { first, last }: SlotPorts,
  read = (file: string) => readFile(file, "utf8").catch(() => ""), // not on every system
): Promise<string | undefined> {
  const [from = 0, to = -1] = (await read(RANGE)).trim().split(/\s+/).map(Number);
  if (last < from || first > to) return undefined;
  const reserved = rangesOf(await read(RESERVED));
  const isReserved = (port: number) => reserved.some(([low, high]) => port >= low && port <= high);
  const ports = Array.from({ length: last - first + 1 }, (_, n) => first + n);
  if (ports.every((port) => port < from || port > to || isReserved(port))) return undefined;
  return `the slots' ports ${first} to ${last} lie in the range from which the kernel takes ports for outgoing connections (${from} to ${to}), so one may be taken when an app starts: sysctl -w net.ipv4.ip_local_reserved_ports=${first}-${last}, or enrol the host with a port base below ${from}`;
}

/** `20000-20015,30000`, as the kernel writes it. */
const rangesOf = (text: string): [number, number][] =>
  text
    .trim()
    .split(",")
    .filter((part) => part !== "")
    .map((part) => {
      const [low = 0, high = low] = part.split("-").map(Number);
      return [low, high];
    });
