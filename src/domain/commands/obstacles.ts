import type { EnvironmentFacts } from "../rollout/facts.ts";
import { heldNow } from "../rollout/lock.ts";
import { firstPlaces } from "../rollout/placing/first-places.ts";
import type { PlacementProblem } from "../rollout/placing/placement.ts";
import { holdsLabel, isActive, type ReleaseFacts } from "../rollout/release.ts";
import { moment } from "../times.ts";
import { closedWords } from "../windows.ts";
import type { Refusal } from "./refusal.ts";

/** What stands in the way of a release asked for now. Plan and deploy ask the same question, so that they can't differ. */
export type Obstacle =
  /** It is not taken. */
  | (Refusal & { readonly effect: "refuses" })
  /** It is taken, and begins later. */
  | (Refusal & { readonly effect: "waits" })
  /** It is taken, and would end when its turn comes. */
  | (PlacementProblem & { readonly effect: "fails" });

export interface Asked {
  /** Label; null: the next number. */
  readonly version: string | null;
  readonly whenBusy: "queue" | "reject" | "supersede";
  /** Begin outside the deploy windows. */
  /** Perhaps with its reason. */
  readonly override: boolean | string;
}

/** All of them, in the order in which they count. */
export function obstacles(facts: EnvironmentFacts, asked: Asked, now: number): readonly Obstacle[] {
  const found = [
    closedWindow(facts, asked, now),
    heldLock(facts, asked, now),
    otherRelease(facts, asked),
    takenLabel(facts, asked),
    ...firstPlaces(facts, now).problems.map((problem) => ({ ...problem, effect: "fails" as const })),
  ];
  return found.filter((obstacle) => obstacle !== undefined);
}

/** A lock makes a release wait, a closed window refuses it: nobody wants a deploy of Friday to begin on Monday by itself. */
function closedWindow(facts: EnvironmentFacts, asked: Asked, now: number): Obstacle | undefined {
  const detail = asked.override ? null : closedWords(facts.spec.rules, now);
  return detail === null ? undefined : { code: "window_closed", detail, effect: "refuses" };
}

function heldLock(facts: EnvironmentFacts, asked: Asked, now: number): Obstacle | undefined {
  const held = heldNow(facts, now);
  if (!held) return undefined;
  const effect = asked.whenBusy === "reject" ? "refuses" : "waits";
  const until = moment(held.expiresAt);
  const waits = effect === "waits" ? "It would wait; " : "";
  const detail = `locked by ${held.holder} until ${until}: ${held.reason}. ${waits}\`sluice unlock\` ends the lock`;
  return { code: "locked", detail, effect };
}

function otherRelease({ releases }: EnvironmentFacts, { whenBusy }: Asked): Obstacle | undefined {
  const active = releases.find(({ state }) => isActive(state));
  const busy = active ?? releases.find(({ state }) => state === "queued");
  if (whenBusy === "reject" && busy) {
    const detail = `release ${busy.version} is ${whereabouts(busy)}: wait for it (--when-busy queue), replace it (--when-busy supersede), or abort it`;
    return { code: "release_in_progress", detail, effect: "refuses" };
  }
  if (whenBusy === "supersede" && active?.state === "shifting" && active.kind === "deploy")
    return { ...shiftingAlready(active), effect: "refuses" };
  // An emergency on its way back is never undone by a deploy.
  if (active && (whenBusy === "queue" || active.kind === "rollback")) {
    const detail = `${active.version} is ${whereabouts(active)}: this one would wait for it`;
    return { code: "release_in_progress", detail, effect: "waits" };
  }
  return undefined;
}

const whereabouts = ({ state, paused }: ReleaseFacts): string =>
  paused ? `${state} and paused (${paused.reason})` : state;

export const shiftingAlready = (release: ReleaseFacts): Refusal => ({
  code: "release_in_progress",
  detail: `${release.version} is taking traffic already: abort it first (\`sluice abort ${release.id}\`), or wait`,
});

function takenLabel({ releases }: EnvironmentFacts, { version }: Asked): Obstacle | undefined {
  if (version === null || !releases.some((release) => release.version === version && holdsLabel(release)))
    return undefined;
  return { ...labelTaken(version), effect: "refuses" };
}

/** What visitors have met keeps its label: a name in their log means one image for ever. Who failed before that gives it back. */
export const labelTaken = (version: string): Refusal => ({
  code: "conflict",
  detail: `a release named ${version} is on its way, or has had traffic, and keeps its name: pick another --version`,
  next: [
    { command: `sluice deploy --version ${version}-2`, when: "to try the same again" },
    { command: "sluice releases", when: "to see what became of it" },
  ],
});
