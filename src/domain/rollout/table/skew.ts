import type { RoutingTable, TableRelease } from "../../routing/table.ts";
import type { EnvironmentFacts } from "../facts.ts";
import type { ReleaseFacts } from "../release.ts";

/** What a table says for pages that are open while releases come and go. */

/** Where assets are looked for that another release's page asks for. */
export function skewRule(
  { spec, releases }: EnvironmentFacts,
  reachable: readonly TableRelease[],
): Pick<RoutingTable, "assets"> {
  if (spec.assets === "off") return {};
  const from = releases
    .filter((release) => hadPages(release) && reachable.some(({ id }) => id === release.id))
    .sort((a, b) => b.createdAt - a.createdAt);
  return { assets: { also: spec.assets ?? [], from: from.map(({ id }) => id) } };
}

/** With what their pages call them, where there are several. One that is taken back gets no request that could go elsewhere. */
export function withDeployments(
  reachable: readonly TableRelease[],
  { releases }: EnvironmentFacts,
): readonly TableRelease[] {
  if (reachable.length < 2) return reachable;
  return reachable.map((one) => {
    const release = releases.find(({ id }) => id === one.id);
    const isOwn = release !== undefined && hadPages(release) && release.state !== "rolling_back";
    return isOwn ? { ...one, deployments: deploymentsOf(release) } : one;
  });
}

/** Visitors have pages of it. */
const hadPages = ({ weightBp, servingAt, state }: ReleaseFacts): boolean =>
  weightBp > 0 || servingAt !== null || state === "rolling_back";

/** What a build can know of itself: the commit. What a container is told: its release, its version. */
const deploymentsOf = ({ id, version, git }: ReleaseFacts): string[] => [
  id,
  version,
  ...(git ? [git.sha, git.sha.slice(0, 7)] : []),
];
