import { z } from "zod";
import type { JobDone } from "../src/protocol/agent.ts";
import type { Control } from "./control.ts";
import type { FinishedJob, Journal } from "./journal.ts";
import type { Log } from "./log.ts";

export interface ResultDeps {
  journal: Journal;
  control: Control;
  log: Log;
}

/**
 * Sends one finished job's result. Answers whether the matter is closed: acknowledged, or refused for good (the lease is
 * someone else's, the job is unknown). Anything else is to be tried again, also by the agent's next process.
 */
export async function deliverResult(id: string, { journal, control, log }: ResultDeps): Promise<boolean> {
  const finished = journal.state.finished[id];
  if (!finished) return true;
  const sent = finished.lease;
  const answer = await control(`/agent/v1/jobs/${id}/done`, asDone(finished), z.unknown());
  if (!answer.ok && (answer.kind === "unreachable" || answer.status === 401)) return false;
  // Handed out again while the answer was under way: what was said was about the old lease.
  if (!answer.ok && finished.lease !== sent) return false;
  if (!answer.ok)
    log.warn("control refused a job's result", { job: id, code: answer.code, detail: answer.detail });
  await journal.update((state) => void delete state.finished[id]);
  return true;
}

const asDone = ({ lease, outcome }: FinishedJob): JobDone =>
  outcome.ok ? { lease, ok: true, result: outcome.value } : { lease, ok: false, error: outcome.error };
