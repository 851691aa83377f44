/** The bar of the comparison by route: faults of one route among many, and good canaries that have many. */
import { FORTY, RARE, type RouteScenario } from "./routes.ts";

export interface RouteCell {
  readonly name: string;
  readonly scenario: RouteScenario;
  readonly runs: number;
  /** The right route first after a minute, % of runs as seen: at least this; absent: only shown. */
  readonly namedPct?: number;
  /** Rolled back, % of runs: the 95 % upper bound may be at most this. */
  readonly falseUpperPct?: number;
}

const ANY = FORTY.map((_, index) => index);
const dead = { rate: 20, minutes: 60, baseError: 0.002, shares: FORTY, fault: { errorRate: 1, among: ANY } };
const rare = (baseError: number, errorRate: number, rate: number): RouteCell => ({
  name: `route of 2 % fails ${100 * errorRate} %, stable ${100 * baseError} % @${rate}/s`,
  scenario: {
    ...{ rate, weight: 0.1, minutes: 60, baseError, shares: RARE },
    fault: { errorRate, among: [0] },
  },
  runs: 50,
});
const good = (rate: number, burst?: number): RouteCell => ({
  name: `40 routes, A/A${burst ? ` in bursts of ${burst}` : ""} @${rate}/s`,
  scenario: {
    ...{ rate, weight: 0.1, minutes: 60, baseError: 0.002, shares: FORTY, fault: null },
    ...(burst && { burst }),
  },
  runs: 300,
  falseUpperPct: 1,
});

export const ROUTE_CELLS: readonly RouteCell[] = [
  {
    name: "one of 40 routes dead, weight 25 % @20/s",
    scenario: { ...dead, weight: 0.25 },
    runs: 50,
    namedPct: 96,
  },
  {
    name: "one of 40 routes dead, weight 50 % @20/s",
    scenario: { ...dead, weight: 0.5 },
    runs: 50,
    namedPct: 96,
  },
  { name: "one of 40 routes dead, weight 10 % @20/s", scenario: { ...dead, weight: 0.1 }, runs: 200 },
  ...[200, 20].flatMap((rate) => [rare(0.002, 0.04, rate), rare(0.02, 0.25, rate), rare(0.04, 0.5, rate)]),
  ...[200, 20, 2].flatMap((rate) => [good(rate), good(rate, 3)]),
];
