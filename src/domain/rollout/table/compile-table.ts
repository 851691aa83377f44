import { publicHost } from "../../hostnames.ts";
import { originSuffixes } from "../../routing/slot.ts";
import {
  FULL_WEIGHT,
  type Marks,
  type RoutingTable,
  TABLE_SCHEMA,
  type TableInstance,
  type TableRelease,
  type TrafficMode,
} from "../../routing/table.ts";
import type { EnvironmentSpec } from "../../spec.ts";
import { PARTIAL_LEASE_MS } from "../advance.ts";
import { judgedIn } from "../analysis/judged.ts";
import { canCarry, isHeard, isSilent, isUp } from "../carry.ts";
import type { EnvironmentFacts, InstanceFacts } from "../facts.ts";
import { isActive, type ReleaseFacts } from "../release.ts";
import { begunWeight } from "../steps.ts";
import { heirsOf } from "../target.ts";
import { staleMsOf } from "./rest.ts";
import { skewRule, withDeployments } from "./skew.ts";

/** What a table is made from: the facts that decisions are made from, and what only visitors meet. */
export interface Routable {
  readonly facts: EnvironmentFacts;
  readonly salt: string;
  /** Hex. */
  readonly previewKey: string;
  readonly mode: TrafficMode;
}

/** The table that an environment's state asks for. `version` and `publishedAt` are the publisher's. `slotZone`: tunnels' origins lie in it. */
export function compileTable(
  environment: Routable,
  stamp: { readonly version: number; readonly now: number },
  slotZone?: string,
): RoutingTable {
  const { facts } = environment;
  const releases = facts.releases
    .filter((release) => isReachable(release, facts.instances))
    .sort(
      (a, b) =>
        Number(a.id === facts.stableReleaseId) - Number(b.id === facts.stableReleaseId) ||
        b.createdAt - a.createdAt,
    )
    .map((release) => toTableRelease(release, facts.instances, stamp.now));
  const stable = releases.some((release) => release.id === facts.stableReleaseId)
    ? facts.stableReleaseId
    : null;
  // A rolling release is judged by nobody, and the old instances that are left could not carry everything.
  const rolls = facts.releases.some(
    ({ state, spec }) => ["shifting", "rolling_back"].includes(state) && spec.strategy.kind === "rolling",
  );
  const partial = !rolls && releases.some(({ weightBp }) => weightBp > 0 && weightBp < FULL_WEIGHT);
  return {
    schema: TABLE_SCHEMA,
    environment: facts.id,
    app: facts.app,
    environmentName: facts.name,
    version: stamp.version,
    publishedAt: stamp.now,
    // One that is being destroyed leads nobody anywhere.
    hostnames: facts.ending ? [] : facts.spec.hostnames,
    ...(facts.spec.stripPrefix ? { stripPrefix: true } : {}),
    publicHost: publicHost(facts.spec.hostnames),
    appPort: facts.spec.port,
    salt: environment.salt,
    affinity: facts.spec.affinity,
    releases: withDeployments(releases, facts),
    stable,
    ...heirOf(facts, stamp.now),
    partialUntil: partial && stable !== null ? stamp.now + PARTIAL_LEASE_MS : null,
    staleMs: staleMsOf(facts),
    judged: partial || facts.releases.some(mayMove),
    ...(isWatched(facts) ? { watched: true } : {}),
    ...stepRules(facts.releases.find(({ state }) => state === "shifting")),
    mode: environment.mode,
    previewKey: environment.previewKey,
    originSuffixes: originSuffixes(
      releases.flatMap(({ instances }) => instances.map(({ origin }) => origin)),
      slotZone,
    ),
    timeouts: facts.spec.timeouts,
    rescue: facts.spec.rescue ?? "errors",
    ...(facts.spec.hedge ? { hedge: true } : {}),
    ...(facts.spec.sockets === "spread" ? { sockets: { drainMs: facts.spec.drainMs } } : {}),
    ...skewRule(facts, releases),
    marks: marksOf(facts.spec),
    // What an edge reads that was deployed before there were `marks`.
    showRelease: marksOf(facts.spec) !== "never",
  };
}

const marksOf = ({ marks, showRelease }: EnvironmentSpec): Marks =>
  marks ?? (showRelease === false ? "never" : "rollout");

/** What is live may be taken back: an edge that sees it fail says so at once. Where that was told already, nobody hurries. */
function isWatched(facts: EnvironmentFacts): boolean {
  const judged = judgedIn(facts);
  return judged?.how === "before" && judged.release.failure === null;
}

/** Who would get the traffic back when what serves is lost: the edge asks it before control has decided that. */
function heirOf(
  { releases, instances, stableReleaseId, spec }: EnvironmentFacts,
  now: number,
): Pick<RoutingTable, "heir"> {
  if (stableReleaseId === null || spec.rescue === "off") return {};
  const own = (id: string) => instances.filter(({ releaseId }) => releaseId === id);
  const heir = heirsOf({ releases }, { id: stableReleaseId }).find(
    (release) => release.weightBp === 0 && canCarry(release, own(release.id), now),
  );
  return heir ? { heir: heir.id } : {};
}

/** What the edge counts of it may yet move traffic. */
const mayMove = ({ state }: ReleaseFacts): boolean =>
  state === "shifting" || state === "settling" || state === "rolling_back";

/** Who is eligible for the release on its way, and how much is copied to it: as its last weight step says. */
function stepRules(release: ReleaseFacts | undefined): Pick<RoutingTable, "match" | "mirror"> {
  const step = release && begunWeight(release);
  if (!release || !step) return { match: null, mirror: null };
  const { match, mirrorBp, compare } = step;
  const mirror = { release: release.id, shareBp: mirrorBp, ...(compare ? { compare } : {}) };
  return { match, mirror: mirrorBp > 0 ? mirror : null };
}

/** Has traffic, or has instances that a preview, a flip or a rescue may reach. */
function isReachable(release: ReleaseFacts, instances: readonly InstanceFacts[]): boolean {
  if (release.weightBp > 0) return true;
  const warm = ["live", "settling", "superseded", "rolling_back"].includes(release.state);
  if (!warm && !isActive(release.state)) return false;
  return instances.some((instance) => instance.releaseId === release.id && serves(release, instance));
}

function toTableRelease(
  release: ReleaseFacts,
  instances: readonly InstanceFacts[],
  now: number,
): TableRelease {
  const all = instances.filter((instance) => instance.releaseId === release.id);
  const serving = all.filter((instance) => serves(release, instance));
  // It has traffic and nobody to serve it: one on its way out is better than none.
  const own = serving.length > 0 ? serving : all.filter((one) => isUp(one) && one.verifiedAt !== null);
  return {
    id: release.id,
    version: release.version,
    weightBp: release.weightBp,
    instances: toTableInstances(own, now),
  };
}

/**
 * What an agent said counts for as long as it is heard from; what the path says, where it leads to others of the release: if to
 * none, it may be control's own. With nobody ready, the edge tries those that are there.
 */
function toTableInstances(own: readonly InstanceFacts[], now: number): TableInstance[] {
  const called = own.filter((one) => one.reportState === "ready" && isHeard(one, now));
  const reached = called.filter((one) => !isSilent(one, now));
  const ready = reached.length > 0 ? reached : called;
  return own.map((one) => ({ id: one.id, origin: one.origin, ready: ready.includes(one) }));
}

/** Once a release has traffic only its serving instances count: one that drains gets nothing new. */
const serves = (release: ReleaseFacts, instance: InstanceFacts): boolean =>
  release.weightBp > 0 ? instance.state === "serving" : isUp(instance);

/** True when two tables route alike: nothing to publish. */
export function sameRouting(a: RoutingTable | undefined, b: RoutingTable): boolean {
  const essence = (table: RoutingTable) =>
    JSON.stringify({ ...table, version: 0, publishedAt: 0, partialUntil: table.partialUntil !== null });
  return a !== undefined && essence(a) === essence(b);
}
