import { err, ok } from "../result.ts";
import { Draft } from "../rollout/draft.ts";
import type { EnvironmentFacts } from "../rollout/facts.ts";
import { heldNow } from "../rollout/lock.ts";
import type { TrafficMode } from "../routing/table.ts";
import { moment } from "../times.ts";
import type { Outcome } from "./refusal.ts";

/** What a person sets on an environment as a whole: a lock against releases, and what the edge does with requests. */

/** No release begins while it holds. What is on its way goes on, and rollback always works. */
export function lock(
  facts: EnvironmentFacts,
  input: { readonly actor: string; readonly reason: string; readonly expiresAt: number },
  now: number,
): Outcome<object> {
  const held = heldNow(facts, now);
  if (held && held.holder !== input.actor) {
    const detail = `locked by ${held.holder} since ${moment(held.since)}: ${held.reason}`;
    return err({ code: "locked", detail });
  }
  const draft = new Draft(facts, now, input.actor);
  const { actor: holder, reason, expiresAt } = input;
  draft.changeEnvironment({ held: { holder, reason, since: now, expiresAt } });
  draft.event("lock.changed", null, `${facts.name} locked by ${holder}: ${reason}`, {
    holder,
    reason,
    expiresAt,
  });
  return ok({ decision: draft.decision });
}

/** Anyone who may deploy may unlock; the audit log says who did. Unlocking what is not locked changes nothing. */
export function unlock(
  facts: EnvironmentFacts,
  input: { readonly actor: string },
  now: number,
): Outcome<object> {
  const draft = new Draft(facts, now, input.actor);
  if (facts.held) {
    draft.changeEnvironment({ held: null });
    const message = `${facts.name} unlocked by ${input.actor} (was ${facts.held.holder}: ${facts.held.reason})`;
    draft.event("lock.changed", null, message, { holder: null, before: facts.held.holder });
  }
  return ok({ decision: draft.decision });
}

export function setMode(
  facts: EnvironmentFacts,
  input: { readonly mode: TrafficMode; readonly actor: string },
  now: number,
): Outcome<object> {
  const draft = new Draft(facts, now, input.actor);
  draft.changeEnvironment({ mode: input.mode });
  draft.event("traffic.mode", null, `${facts.name}: ${words(input.mode)}, set by ${input.actor}`, {
    mode: input.mode,
  });
  return ok({ decision: draft.decision });
}

function words(mode: TrafficMode): string {
  if (mode.kind === "open") return "open to visitors";
  return mode.kind === "paused" ? "new requests are held" : "in maintenance";
}
