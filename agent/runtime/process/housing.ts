import { constants } from "node:os";
import type { InstanceSpec } from "../../../src/protocol/agent/instance.ts";
import { failed, type Outcome } from "../../outcome.ts";

type Housing = Pick<InstanceSpec, "volumes" | "container" | "network">;

/**
 * A plain process has the host's files, network and rights. What a manifest asks for beyond that is refused rather than left
 * out: an app that believes its root can't be written, or its data to be on a volume, must not find out by losing them.
 */
export function unsupported(spec: Housing): Outcome<never> | undefined {
  const [wish] = wishesOf(spec);
  if (wish === undefined) return undefined;
  return failed(
    "start_failed",
    `this host runs plain processes, not containers, and can't give the app ${wish}: take it out of the manifest, or run the app on a host with Docker`,
  );
}

function wishesOf({ volumes, network, container }: Housing): string[] {
  const { capabilities, readOnly, tmpfs, ulimits, shmBytes, stopSignal } = container;
  const mount = volumes[0];
  const limits = Object.keys(ulimits).join(", ");
  const wishes = [
    mount && `the volume ${mount.source} at ${mount.target}`,
    network !== undefined && `the private network ${network} (its environment has accessories)`,
    readOnly && "a read-only root (container.readOnly)",
    capabilities && `capabilities of its own (${capabilities.join(", ") || "none"})`,
    tmpfs.length > 0 && `directories in memory (container.tmpfs: ${tmpfs.join(", ")})`,
    limits && `limits of its own (container.ulimits: ${limits})`,
    shmBytes && `${shmBytes} bytes of shared memory (container.shm)`,
    stopSignal && !isSignal(stopSignal) && `the stop signal ${stopSignal}`,
  ];
  return wishes.flatMap((wish) => (typeof wish === "string" && wish !== "" ? [wish] : []));
}

const isSignal = (name: string): name is NodeJS.Signals => name in constants.signals;

/** What an app is asked to end with. */
export const stopSignalOf = ({ container: { stopSignal = "SIGTERM" } }: Pick<InstanceSpec, "container">) =>
  isSignal(stopSignal) ? stopSignal : "SIGTERM";
