import { volumesOf } from "../accessory.ts";
import { ok } from "../result.ts";
import { Draft } from "../rollout/draft.ts";
import { cancelJobs, endWithoutTraffic } from "../rollout/ending.ts";
import type { EnvironmentFacts } from "../rollout/facts.ts";
import { isOpen, type ReleaseFacts } from "../rollout/release.ts";
import { stop } from "../rollout/retire.ts";
import { drainInstance } from "../rollout/shift.ts";
import { volumeName } from "../spec.ts";
import type { Outcome } from "./refusal.ts";

/**
 * Ends an environment: whatever is on its way ends, nobody gets traffic any more, and each instance finishes what it has
 * begun and is stopped. Hostnames lead nowhere from here on. Said again it changes nothing.
 */
export function destroy(
  facts: EnvironmentFacts,
  input: { readonly actor: string },
  now: number,
): Outcome<object> {
  const draft = new Draft(facts, now, input.actor);
  if (facts.ending) return ok({ decision: draft.decision });
  const keeps = volumesLeft(facts);
  const message = `${facts.app}/${facts.name} is destroyed by ${input.actor}`;
  draft.changeEnvironment({
    ending: { at: now, by: input.actor, keeps },
    stableReleaseId: null,
    held: null,
    mode: { kind: "open" },
  });
  for (const release of facts.releases) end(draft, release, message);
  draft.event("environment.ending", null, message, { keeps });
  return ok({ decision: draft.decision });
}

/** Said now: who holds them is gone when they are all that is left. */
function volumesLeft({ spec, instances, workers = [], accessories }: EnvironmentFacts): string[] {
  const hosts = [...new Set([...instances, ...workers].map(({ hostName }) => hostName))];
  const own = (spec.volumes ?? []).flatMap(({ source }) =>
    hosts.map((host) => `${volumeName(spec, source)} on ${host}`),
  );
  const beside = accessories.flatMap(({ name, hostName }) => {
    const accessory = spec.accessories?.[name];
    return accessory ? volumesOf(spec, accessory).map((volume) => `${volume} on ${hostName}`) : [];
  });
  return [...own, ...beside];
}

function end(draft: Draft, release: ReleaseFacts, message: string): void {
  const { state } = release;
  if (["queued", "preparing", "starting", "verifying"].includes(state))
    return endWithoutTraffic(draft, release, "aborted", `${release.version} ends: ${message}`);
  const own = draft.instancesOf(release.id);
  if (isOpen(state)) {
    cancelJobs(draft, release);
    const ends = state === "shifting" || state === "rolling_back" ? "aborted" : "superseded";
    draft.moveRelease(release, ends, `${release.version} ends: ${message}`, {
      endedAt: draft.now,
      paused: null,
    });
  }
  if (release.weightBp > 0 || release.warmUntil !== null)
    draft.changeRelease(release.id, { weightBp: 0, warmUntil: null });
  for (const instance of own) {
    if (instance.state === "pending")
      draft.changeInstance(instance, { state: "stopped", stoppedAt: draft.now });
    else if (instance.state === "starting" || instance.state === "ready") stop(draft, instance);
    else if (instance.state === "serving") drainInstance(draft, release, instance);
  }
}
