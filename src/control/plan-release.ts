import { place, stepsOf } from "../domain/plan.ts";
import { isActive } from "../domain/release.ts";
import type { PlanView } from "../protocol/api.ts";
import { ProblemError } from "./problems.ts";
import type { Db } from "./store/db.ts";
import { loadEnvironment } from "./store/environments.ts";

/** What a release would do now: where it would run, which steps it takes, what stands in its way. Changes nothing. */
export async function planRelease(db: Db, environmentId: string, now: number): Promise<PlanView> {
  const loaded = await loadEnvironment(db, environmentId, { withHosts: true });
  if (!loaded) throw new ProblemError({ code: "not_found", detail: "the environment was just deleted" });
  const { facts } = loaded;
  const placed = place(facts, now);
  const stable = facts.releases.find(({ id }) => id === facts.stableReleaseId);
  const active = facts.releases.find(({ state }) => isActive(state));
  const { spec } = facts;
  return {
    instances: placed.ok ? placed.value.map(({ hostName, slot }) => ({ host: hostName, slot })) : [],
    steps: stepsOf(spec).map(({ weightBp }) => ({ weight: weightBp / 100 })),
    replaces: stable ? { release: stable.id, version: stable.version } : null,
    keepMs: spec.keepMs,
    rollback: stable
      ? `instant for ${Math.round(spec.keepMs / 1000)} s: ${stable.version} is kept warm; later by starting it again`
      : "the first release here: there is nothing to go back to",
    problems: [
      ...(placed.ok ? [] : [placed.error]),
      ...(active
        ? [
            {
              code: "release_in_progress",
              detail: `${active.version} is ${active.state}: this one would wait for it`,
            },
          ]
        : []),
    ],
  };
}
