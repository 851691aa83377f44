import { WEB } from "../processes/process.ts";
import type { RunFacts } from "../processes/run.ts";
import { err, ok } from "../result.ts";
import { Draft } from "../rollout/draft.ts";
import type { EnvironmentFacts } from "../rollout/facts.ts";
import type { Outcome } from "./refusal.ts";

export interface CreateRun {
  readonly id: string;
  readonly command: readonly string[];
  readonly deadlineMs: number;
  readonly actor: string;
}

/** Runs a command once in the live image, with its environment. */
export function createRun(facts: EnvironmentFacts, input: CreateRun, now: number): Outcome<object> {
  const draft = new Draft(facts, now, input.actor);
  const stable = draft.stable();
  if (!stable) {
    const detail = `nothing is live in ${facts.app}/${facts.name}, so there is no image to run it in: deploy first`;
    return err({ code: "not_found", detail });
  }
  const run: RunFacts = {
    id: input.id,
    releaseId: stable.id,
    process: null,
    command: input.command,
    by: input.actor,
    ...{ dueAt: null, missed: 0, state: "waiting", cause: null, exitCode: null, logs: [], hostId: null },
    ...{ jobId: null, attempts: 0, stopBy: null, startedAt: null, endedAt: null },
    deadlineMs: input.deadlineMs,
    createdAt: now,
  };
  draft.addRun(run);
  const words = input.command.join(" ").slice(0, 200);
  const data = { run: input.id, process: WEB, state: "waiting", command: input.command };
  draft.event("run.state", stable.id, `${input.actor} runs \`${words}\` in ${stable.version}`, data);
  return ok({ decision: draft.decision });
}

/** Ends a run, wherever it is. Said again, or of one that has ended, it changes nothing. */
export function stopRun(
  facts: EnvironmentFacts,
  input: { readonly run: string; readonly actor: string },
  now: number,
): Outcome<object> {
  const draft = new Draft(facts, now, input.actor);
  const run = draft.runs().find(({ id }) => id === input.run);
  if (run && run.stopBy === null) draft.changeRun(run, { stopBy: input.actor });
  return ok({ decision: draft.decision });
}
