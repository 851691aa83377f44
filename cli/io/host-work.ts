import type { HostView } from "../../src/protocol/api/hosts.ts";
import { clean } from "./print.ts";

type Work = Pick<HostView, "instances" | "workers" | "runs">;

/** What a host has to do, in words, one each. Its accessories stay where their data is. */
export const workOf = ({ instances, workers, runs }: Work): string[] => [
  ...instances.map(({ version, slot, state }) => clean(`${version} in slot ${slot} (${state})`)),
  ...workers.map(({ app, environment, process, state }) =>
    clean(`${process} of ${app}/${environment} (${state})`),
  ),
  ...runs.map(({ app, environment, what }) => clean(`${what} of ${app}/${environment} (runs)`)),
];
