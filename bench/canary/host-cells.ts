/** The bar of the comparison within hosts: good canaries on hosts that differ, bad ones on hosts that differ or don't. */
import type { Cell } from "./cells.ts";
import type { Hosts } from "./hosts.ts";

export interface HostCell extends Cell {
  readonly hosts: Hosts;
}

const all = (runs: number) => ({ 200: runs, 20: runs, 2: runs });
const differ = { count: 3, slower: [1.2, 1.4], lost: 0.01 } as const;

const good = (name: string, hosts: Hosts, runs = 1000): HostCell => ({
  name: `hosts 20-40 % apart, ${name}`,
  scenario: {},
  hosts,
  runs: all(runs),
  falseUpperPct: 1,
});
const bad = (name: string, hosts: Hosts, fault: HostCell["scenario"]): HostCell => ({
  name,
  scenario: fault,
  hosts,
  runs: all(200),
  showTimes: true,
});
const faults = (where: string, hosts: Hosts): HostCell[] => [
  bad(`${where}: 100 % failing`, hosts, { canaryError: 1 }),
  bad(`${where}: 20 % failing`, hosts, { canaryError: 0.2 }),
  bad(`${where}: 5 % failing`, hosts, { canaryError: 0.05 }),
  bad(`${where}: latency 2x`, hosts, { canaryLatency: 2 }),
  bad(`${where}: latency 1.5x`, hosts, { canaryLatency: 1.5 }),
];

export const HOST_CELLS: readonly HostCell[] = [
  good("one loses 1 % on the way", differ),
  good("one fails 1 %", { ...differ, failing: 0.01 }),
  good("one fails 1 %, all waver by 20 %, canary on the slowest", {
    ...differ,
    ...{ failing: 0.01, jitter: 0.2, canaryOn: "slowest" },
  }),
  good("one with the canary alone", { ...differ, canaryOn: 2, canaryAlone: 1 }, 480),
  good("two, one fails 1 %, canary on the slower", {
    ...differ,
    ...{ count: 2, failing: 0.01, canaryOn: "slowest" },
  }),
  {
    name: "hosts 20-40 % apart, none has both",
    scenario: {},
    hosts: { ...differ, count: 2, canaryOn: "slowest", canaryAlone: 1 },
    runs: all(100),
    showFalse: true,
  },
  ...faults("3 hosts alike", { count: 3, canaryOn: 3 }),
  ...faults("hosts 20-40 % apart, canary on one of three", { ...differ, canaryOn: 1 }),
];
