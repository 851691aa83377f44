import type { HostsCompared } from "./hosts.ts";
import { percent } from "./numbers.ts";

/** What hosts had to do with errors; begins with a semicolon, empty: nothing. */
export const errorsByHost = (hosts: HostsCompared | null = null): string =>
  (hosts?.apart ?? [])
    .map(
      ({ host, errorRate, elsewhere }) =>
        `; ${host} by itself, where stable fails ${percent(errorRate)} (elsewhere ${percent(elsewhere)})`,
    )
    .join("");

/** … and with response times. */
export function latencyByHost(hosts: HostsCompared | null = null): string {
  if (!hosts) return "";
  const { shared, canaryOnly, stableOnly, slower, allowance } = hosts;
  if (shared.length === 0) {
    if (canaryOnly.length === 0 || stableOnly.length === 0) return "";
    const pair = `${list(canaryOnly)} against ${list(stableOnly)}`;
    return `; no host has both: response times are of ${pair}, which may differ by ${percent(allowance - 1)} themselves`;
  }
  const left = (names: readonly string[], who: string): string =>
    names.length > 0 ? `; response times on ${list(names)} left out, no ${who} there` : "";
  const slow = slower.map(({ host, factor }) => `; ${host} is slow for stable too (${factor.toFixed(1)} ×)`);
  return left(canaryOnly, "stable") + left(stableOnly, "canary") + slow.join("");
}

/** At most three by name. */
function list(names: readonly string[]): string {
  if (names.length > 3) return `${names.length} hosts`;
  return [names.slice(0, -1).join(", "), names.at(-1)].filter(Boolean).join(" and ");
}
