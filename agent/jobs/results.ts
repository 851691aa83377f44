import { z } from "zod";
import type { JobDone } from "../../src/protocol/agent/job-results.ts";
import type { Control } from "../control/control.ts";
import type { FinishedJob, Journal } from "../journal.ts";
import type { Log } from "../log.ts";

export interface ResultDeps {
  journal: Journal;
  control: Control;
  log: Log;
}

/** `refused`: for good, since the lease is someone else's or the job is unknown. */
export type Delivery = "acknowledged" | "refused" | "again";

/** Sends one finished job's result. `again` is for the agent's next process, too. */
export async function deliverResult(id: string, { journal, control, log }: ResultDeps): Promise<Delivery> {
  const finished = journal.state.finished[id];
  if (!finished) return "acknowledged";
  const sent = finished.lease;
  const answer = await control(`/agent/v1/jobs/${id}/done`, asDone(finished), z.unknown());
  if (!answer.ok && (answer.kind === "unreachable" || answer.status === 401)) return "again";
  // Handed out again while the answer was under way: what was said was about the old lease.
  if (!answer.ok && finished.lease !== sent) return "again";
  if (!answer.ok)
    log.warn("control refused a job's result", { job: id, code: answer.code, detail: answer.detail });
  await journal.update((state) => void delete state.finished[id]);
  return answer.ok ? "acknowledged" : "refused";
}

const asDone = ({ lease, outcome }: FinishedJob): JobDone =>
  outcome.ok ? { lease, ok: true, result: outcome.value } : { lease, ok: false, error: outcome.error };
