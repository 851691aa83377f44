import { FULL_WEIGHT } from "../../routing/table.ts";
import type { Rolling } from "../../spec.ts";
import { answering, canCarry } from "../carry.ts";
import type { Draft } from "../draft.ts";
import type { ReleaseFacts } from "../release.ts";
import { stop } from "../retire.ts";
import { admit, comingOf, roll, rollLimits, weigh } from "../roll.ts";
import { servingBeside, shiftWeights } from "../shift.ts";
import { askNew, startFailure } from "../starts.ts";
import { strengthOf, watch } from "../watch.ts";
import type { StateRule } from "./state-rule.ts";

/**
 * rolling_back → rolled_back: its traffic is away, and its instances drain and stop. A rolling one goes back the way it
 * came; past its deadline no old instance is started again, and those that answer, on either side, go on.
 */
export const rollingBack: StateRule = { work: endRollback };

/** An old instance that does not start is tried again, elsewhere first, so many times. */
const MOST_FAILURES = 3;
/** After the first failure; after the second twice as long, and so on. */
const RETRY_MS = 10_000;

function endRollback(draft: Draft, release: ReleaseFacts): void {
  const { strategy } = release.spec;
  const stable = draft.stable();
  const rolls =
    strategy.kind === "rolling" &&
    stable &&
    stable.id !== release.id &&
    isFirst(draft, release) &&
    !isSteered(draft, release);
  if (rolls && !rollBack(draft, release, { stable, strategy })) return;
  const busy = draft.instancesOf(release.id).filter((instance) => instance.state !== "stopping");
  if (busy.length > 0) return;
  draft.moveRelease(release, "rolled_back", `${release.version} is rolled back`, { endedAt: draft.now });
}

/** Two that go back at once bring the old instances back together: one of them does it. */
function isFirst(draft: Draft, { id }: ReleaseFacts): boolean {
  const back = draft
    .releases()
    .filter(({ state, spec }) => state === "rolling_back" && spec.strategy.kind === "rolling");
  return (back.find(({ weightBp }) => weightBp > 0) ?? back[0])?.id === id;
}

/**
 * Its traffic is away, and what is on its way beside stable has a share by its own steps: that is not to be taken instance by
 * instance. Nor is stable to be filled up while another roll, which may have no share yet, lets its instances go. What stable
 * lacks is replaced as anybody's is.
 */
const isSteered = (draft: Draft, { weightBp }: ReleaseFacts): boolean =>
  weightBp === 0 &&
  draft
    .releases()
    .some(
      ({ state, spec, weightBp: share }) =>
        state === "shifting" && (share > 0 || spec.strategy.kind === "rolling"),
    );

/** One tick of putting the old instances back. True: stable has all that it will get. */
function rollBack(
  draft: Draft,
  release: ReleaseFacts,
  { stable, strategy }: { stable: ReleaseFacts; strategy: Rolling },
): boolean {
  askNew(draft, stable);
  watch(draft, stable);
  if (release.weightBp > 0) watch(draft, release);
  noteFailures(draft, release, stable);
  const { startFailures, deadlineAt } = draft.release(release.id) ?? release;
  const grows = startFailures.length < MOST_FAILURES && (deadlineAt ?? Number.POSITIVE_INFINITY) > draft.now;
  if (!grows) return share(draft, release, stable);
  const progress = roll(draft, {
    to: stable,
    from: givers(draft, release, stable),
    limits: rollLimits(strategy, stable.spec.replicas),
    admits: true,
    startsAt: (startFailures.at(-1)?.at ?? 0) + RETRY_MS * startFailures.length,
    avoid: startFailures.map(({ hostId }) => hostId),
  });
  if (progress === "stuck") draft.changeRelease(release.id, { deadlineAt: draft.now });
  if (progress !== "done") return false;
  shiftWeights(draft, new Map([[stable.id, FULL_WEIGHT]]));
  return true;
}

/** Whose instances go as stable's come: the release's, and those of what shares the traffic. */
const givers = (draft: Draft, release: ReleaseFacts, stable: ReleaseFacts): ReleaseFacts[] => [
  release,
  ...servingBeside(draft, stable).filter(({ id }) => id !== release.id),
];

function noteFailures(draft: Draft, release: ReleaseFacts, stable: ReleaseFacts): void {
  for (const instance of draft.instancesOf(stable.id)) {
    if (!startFailure(draft, stable, instance)) continue;
    stop(draft, instance);
    const { startFailures } = draft.release(release.id) ?? release;
    const failed = { hostId: instance.hostId, at: draft.now };
    draft.changeRelease(release.id, { startFailures: [...startFailures, failed] });
  }
}

/**
 * No old instance comes any more. Stable takes all if it can carry it; else everybody who answers goes on, old and new,
 * and a person decides: the few old ones would drown.
 */
function share(draft: Draft, release: ReleaseFacts, stable: ReleaseFacts): boolean {
  admit(draft, stable);
  if (comingOf(draft, stable).length > 0) {
    weigh(draft, stable, givers(draft, release, stable));
    return false;
  }
  const { now } = draft;
  const [theirs, mine] = [stable, release].map(({ id }) => answering(draft.instancesOf(id), now).length);
  const besides = servingBeside(draft, stable).filter(({ id }) => id !== release.id);
  const isShared = besides.some(({ id }) => answering(draft.instancesOf(id), now).length > 0);
  if (canCarry(stable, draft.instancesOf(stable.id), now) || !(mine || isShared)) {
    shiftWeights(draft, new Map([[stable.id, FULL_WEIGHT]]));
    return true;
  }
  // Those that shared the traffic before it came go on together.
  if (!mine) {
    weigh(draft, stable, givers(draft, release, stable));
    return true;
  }
  if (theirs) weigh(draft, stable, givers(draft, release, stable));
  else shiftWeights(draft, new Map([[release.id, FULL_WEIGHT]]), { keepInstances: true });
  stay(draft, release, stable);
  return false;
}

function stay(draft: Draft, release: ReleaseFacts, stable: ReleaseFacts): void {
  const theirs = draft.release(stable.id)?.weightBp ?? 0;
  const mine = draft.release(release.id)?.weightBp ?? 0;
  if (mine >= theirs) draft.changeEnvironment({ stableReleaseId: release.id });
  const message = `${release.version} stays: not enough of ${stable.version} could be started again (${strengthOf(draft, stable)}, ${strengthOf(draft, release)})`;
  const { failure } = release;
  draft.moveRelease(release, "live", message, { endedAt: draft.now, failure, startFailures: [] });
  draft.event("traffic.alert", release.id, message, failure ? { failure } : {});
}
